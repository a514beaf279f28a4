import type { Blame } from '../errors.js';
import type { Network } from './network.js';

/** Where the root disk hangs and which NIC the guest has; the PCI addresses of added devices follow from it. */
export interface Topology {
  readonly disk: 'ide' | 'virtio';
  readonly nic: 'e1000' | 'virtio';
  readonly vga: 'std' | 'none';
  /** `-device` arguments placed before the lab's own devices. */
  readonly before: readonly string[];
  /** Firmware file other than QEMU's default, looked up in the data folders. */
  readonly bios?: string;
  /** Kernel parameters that only this topology wants. */
  readonly kernelParameters: readonly string[];
}

export interface Profile extends Topology {
  readonly name: string;
  readonly summary: string;
  /** Fragments of kernel configuration, files of `vm/kernel`, that change how the kernel is compiled: KASAN. */
  readonly kernelFragments: readonly string[];
  /** Whether QEMU itself is compiled to find misuse of memory and undefined behaviour. */
  readonly qemuSanitizers: boolean;
}

/** A host folder or file that QEMU needs at run time, resolved. */
export interface QemuInstallation {
  readonly binary: string;
  readonly version: string;
  /** `-L` arguments, first match wins. */
  readonly dataDirs: readonly string[];
  /** Compiled with sanitizers, so that it ends with their report; see `sanitizers.ts`. */
  readonly sanitized?: boolean;
}

/** Whoever answers for the devices of a machine, and the files that they are made of. */
export interface DeviceOwner {
  readonly blame: Blame;
  readonly files: readonly string[];
}

export type Accelerator = 'kvm' | 'tcg';

/** Everything that determines a machine: frozen data, comparable by digest, no live resources. */
export interface MachineSpec {
  readonly name: string;
  readonly profile: Profile;
  readonly qemu: QemuInstallation;
  readonly kernel: string;
  /** Initial RAM disk of a kernel that has the drivers of its root device as modules. */
  readonly initrd?: string;
  /** qcow2 overlay that the guest writes to. */
  readonly disk: string;
  readonly accelerator: Accelerator;
  /** Features of the CPU turned off, by QEMU's names: `smap`. */
  readonly withoutCpu?: readonly string[];
  readonly memoryMiB: number;
  /** The lab's own `-device` arguments, e.g. `my_rng`. */
  readonly devices: readonly string[];
  /** Who is charged with what a sanitizer finds in them; nobody but the host when left out. */
  readonly owner?: DeviceOwner;
  readonly net: Network;
  /** `fw_cfg` items: name below `opt/lab/` → host file. */
  readonly firmwareFiles: Readonly<Record<string, string>>;
  /** Present for a machine that runs code nobody trusts. */
  readonly sealed?: Sealed;
}

/** A machine in user mode, without sockets on the host: what belongs to it comes through inherited descriptors and given files. */
export interface Sealed {
  /** Command put before QEMU's own. */
  readonly wrap: readonly string[];
  /** Descriptors, from 4 on, that are carried to the guest's SSH server. */
  readonly relays: number;
  /** Where QEMU forwards to the guest's SSH server, on the loopback of QEMU's own network. */
  readonly sshPort: number;
  /** Further arguments of QEMU. */
  readonly arguments: readonly string[];
}

/** Files of one live machine. */
export interface MachineFiles {
  /** Folder with everything that is kept: console, QMP traffic, command line. */
  readonly dir: string;
  /** Folder of the sockets; may differ from `dir` because socket paths are short. */
  readonly sockets: string;
}
