import type { Diagnostic } from './diagnostics.js';

/** A kernel that is booted and for which modules are built, whoever made it; nothing outside of `dir` is needed. */
export interface Kernel {
  readonly version: string;
  /** What QEMU starts: ELF with symbols and without debug information, started by PVH. */
  readonly vmlinux: string;
  readonly config: string;
  /** What `uname -r` says. */
  readonly release: string;
  /** Holds `lib/modules/<release>/`, ready to be copied to the root of a guest. */
  readonly modules: string;
  /** A tree against which modules are built: `make -C <kbuild> M=<folder> modules`. */
  readonly kbuild: string;
  /** Whether drivers of the root device and what else a boot needs are modules: see `buildInitrd`. */
  readonly needsInitrd: boolean;
  /** What the compiler warned of in contributed files. */
  readonly warnings: readonly Diagnostic[];
  readonly digest: string;
  readonly dir: string;
  readonly fresh: boolean;
}
