import { access } from 'node:fs/promises';
import { run } from '../host/run.js';
import type { Timeouts } from '../timeouts.js';

/** What a tool is needed for. */
export const NEEDS = [
  'qemu',
  'system-qemu',
  'linux',
  'distro-linux',
  'modules',
  'programs',
  'image',
  'machine',
  'sources',
  'sandbox',
  'tap',
  'nbd-clients',
  'pages',
] as const;

export type Need = (typeof NEEDS)[number];

export type ToolCheck =
  | { readonly program: string }
  | { readonly pkgConfig: string }
  | { readonly header: string }
  | { readonly library: string }
  | { readonly pythonModule: string }
  | { readonly file: string };

export interface Tool {
  /** What a person calls it. */
  readonly name: string;
  readonly check: ToolCheck;
  /** The Debian package that holds it. */
  readonly package: string;
  readonly needed: readonly Need[];
}

/** The Python that builds use: one found on PATH may be a version manager's, blind to Debian's modules. */
export const PYTHON = '/usr/bin/python3';

/** Everything that the labs need of the host, with the Debian packages that hold it. */
export const TOOLS: readonly Tool[] = [
  {
    name: 'C compiler',
    check: { program: 'gcc' },
    package: 'build-essential',
    needed: ['qemu', 'linux', 'modules', 'programs'],
  },
  {
    name: 'make',
    check: { program: 'make' },
    package: 'build-essential',
    needed: ['qemu', 'linux', 'modules'],
  },
  {
    name: 'linker',
    check: { program: 'ld' },
    package: 'build-essential',
    needed: ['qemu', 'linux', 'modules', 'programs'],
  },
  {
    name: 'C library headers',
    check: { header: 'stdio.h' },
    package: 'libc6-dev',
    needed: ['qemu', 'linux', 'programs'],
  },
  { name: 'static C library', check: { library: 'libc.a' }, package: 'libc6-dev', needed: ['programs'] },
  { name: 'git', check: { program: 'git' }, package: 'git', needed: ['qemu', 'linux', 'sources'] },
  { name: 'patch', check: { program: 'patch' }, package: 'patch', needed: ['qemu', 'linux', 'sources'] },
  { name: 'rsync', check: { program: 'rsync' }, package: 'rsync', needed: ['qemu', 'linux', 'sources'] },
  { name: 'Ninja', check: { program: 'ninja' }, package: 'ninja-build', needed: ['qemu'] },
  { name: 'pkg-config', check: { program: 'pkg-config' }, package: 'pkg-config', needed: ['qemu', 'linux'] },
  { name: 'GLib', check: { pkgConfig: 'glib-2.0' }, package: 'libglib2.0-dev', needed: ['qemu'] },
  { name: 'libslirp', check: { pkgConfig: 'slirp' }, package: 'libslirp-dev', needed: ['qemu'] },
  { name: 'libseccomp', check: { pkgConfig: 'libseccomp' }, package: 'libseccomp-dev', needed: ['qemu'] },
  { name: 'zlib', check: { header: 'zlib.h' }, package: 'zlib1g-dev', needed: ['qemu'] },
  { name: 'libfdt', check: { header: 'libfdt.h' }, package: 'libfdt-dev', needed: ['qemu'] },
  { name: 'Python 3', check: { file: PYTHON }, package: 'python3', needed: ['qemu'] },
  { name: 'Python venv', check: { pythonModule: 'ensurepip' }, package: 'python3-venv', needed: ['qemu'] },
  {
    name: 'SeaBIOS',
    check: { file: '/usr/share/seabios/bios-256k.bin' },
    package: 'seabios',
    needed: ['qemu'],
  },
  {
    name: 'QEMU option ROMs',
    check: { file: '/usr/share/qemu/linuxboot_dma.bin' },
    package: 'qemu-system-data',
    needed: ['qemu'],
  },
  {
    name: 'iPXE ROMs',
    check: { file: '/usr/lib/ipxe/qemu/efi-e1000.rom' },
    package: 'ipxe-qemu',
    needed: ['qemu'],
  },
  { name: 'flex', check: { program: 'flex' }, package: 'flex', needed: ['linux'] },
  { name: 'bison', check: { program: 'bison' }, package: 'bison', needed: ['linux'] },
  { name: 'bc', check: { program: 'bc' }, package: 'bc', needed: ['linux'] },
  { name: 'libelf', check: { header: 'gelf.h' }, package: 'libelf-dev', needed: ['linux'] },
  { name: 'OpenSSL headers', check: { header: 'openssl/evp.h' }, package: 'libssl-dev', needed: ['linux'] },
  { name: 'lz4', check: { program: 'lz4' }, package: 'lz4', needed: ['linux'] },
  { name: 'kmod', check: { program: 'modinfo' }, package: 'kmod', needed: ['linux', 'modules'] },
  {
    name: 'QEMU for x86',
    check: { program: 'qemu-system-x86_64' },
    package: 'qemu-system-x86',
    needed: ['system-qemu'],
  },
  {
    name: 'qemu-img',
    check: { program: 'qemu-img' },
    package: 'qemu-utils',
    needed: ['system-qemu', 'nbd-clients'],
  },
  {
    name: 'libelf of objtool',
    check: { file: '/usr/lib/x86_64-linux-gnu/libelf.so.1' },
    package: 'libelf1',
    needed: ['distro-linux'],
  },
  { name: 'zstd', check: { program: 'zstd' }, package: 'zstd', needed: ['distro-linux'] },
  { name: 'xz', check: { program: 'xz' }, package: 'xz-utils', needed: ['sources', 'distro-linux'] },
  { name: 'dpkg-source', check: { program: 'dpkg-source' }, package: 'dpkg-dev', needed: ['sources'] },
  { name: 'mke2fs', check: { program: 'mke2fs' }, package: 'e2fsprogs', needed: ['image'] },
  { name: 'unshare', check: { program: 'unshare' }, package: 'util-linux', needed: ['image', 'sandbox'] },
  { name: 'setpriv', check: { program: 'setpriv' }, package: 'util-linux', needed: ['machine', 'sandbox'] },
  { name: 'bubblewrap', check: { program: 'bwrap' }, package: 'bubblewrap', needed: ['sandbox'] },
  { name: 'ip', check: { program: 'ip' }, package: 'iproute2', needed: ['tap'] },
  { name: 'nft', check: { program: 'nft' }, package: 'nftables', needed: ['tap'] },
  { name: 'OpenSSH client', check: { program: 'scp' }, package: 'openssh-client', needed: ['tap'] },
  { name: 'nbdinfo', check: { program: 'nbdinfo' }, package: 'libnbd-bin', needed: ['nbd-clients'] },
  { name: 'nbdsh', check: { program: 'nbdsh' }, package: 'python3-libnbd', needed: ['nbd-clients'] },
  { name: 'nbdkit', check: { program: 'nbdkit' }, package: 'nbdkit', needed: ['nbd-clients'] },
  { name: 'Chromium', check: { program: 'chromium' }, package: 'chromium', needed: ['pages'] },
];

export interface ProbeContext {
  readonly timeouts: Timeouts;
  readonly signal?: AbortSignal;
}

/** The tools for `needs` that this host lacks, in the order of `TOOLS`. */
export async function missingTools(needs: readonly Need[], context: ProbeContext): Promise<Tool[]> {
  const wanted = TOOLS.filter((tool) => tool.needed.some((need) => needs.includes(need)));
  const present = await Promise.all(wanted.map((tool) => isPresent(tool.check, context)));
  return wanted.filter((_, i) => !present[i]);
}

/** The Debian packages that hold `tools`, each once. */
export function packagesOf(tools: readonly Tool[]): string[] {
  return [...new Set(tools.map((tool) => tool.package))];
}

async function isPresent(check: ToolCheck, context: ProbeContext): Promise<boolean> {
  if ('program' in check) return await onPath(check.program);
  if ('file' in check) return await readable(check.file);
  if ('pkgConfig' in check) return await succeeds('pkg-config', ['--exists', check.pkgConfig], context);
  if ('pythonModule' in check) return await succeeds(PYTHON, ['-c', `import ${check.pythonModule}`], context);
  if ('header' in check) {
    const source = `#include <stdio.h>\n#include <${check.header}>\n`;
    return await succeeds('gcc', ['-fsyntax-only', '-x', 'c', '-'], context, source);
  }
  const found = await output('gcc', [`-print-file-name=${check.library}`], context);
  return found?.startsWith('/') === true && (await readable(found));
}

async function onPath(program: string): Promise<boolean> {
  // administrators' folders hold mke2fs and the like, and are not on everybody's PATH
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'].filter((dir) => dir !== '');
  for (const dir of folders) if (await readable(`${dir}/${program}`)) return true;
  return false;
}

async function readable(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

async function succeeds(file: string, args: string[], context: ProbeContext, input = ''): Promise<boolean> {
  return (await output(file, args, context, input)) !== undefined;
}

async function output(
  file: string,
  args: string[],
  { signal, timeouts }: ProbeContext,
  input = '',
): Promise<string | undefined> {
  try {
    return (await run(file, args, { timeout: timeouts.hostTool, signal, input })).stdout.trim();
  } catch (error) {
    if (signal?.aborted) throw error;
    return undefined;
  }
}
