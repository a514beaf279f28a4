import { existsSync, lstatSync, readlinkSync } from 'node:fs';
import type { Bind, Jail } from './spec.js';

/** How much of a command's surroundings is confined, in words, for reports. */
export const CONFINEMENT: readonly string[] = [
  'user, mount, process, network, IPC, host name and control group namespaces (bubblewrap), no further user namespaces',
  'no capabilities, no privileges to be gained, its own user id on the host, a filter of system calls',
  "no network, not even the host's loopback; no home folder; an empty environment; no inherited descriptors",
  '/usr read-only; a private overlay in memory over the prebuilt tree',
  'limits on memory, processes, file size, written bytes, CPU time, output and time',
];

/** Where the entering shell has mounted what the jail is made of, once it is about to start bubblewrap. */
export const HALL = '/tmp';

/** Descriptors that only bubblewrap itself gets: far from those that callers pass on. */
export const FILTER_FD = 20;
export const REPORT_FD = 23;

/**
 * bubblewrap's argument list: all namespaces, nothing of the host but programs, what is mounted in `HALL`, and
 * folders of bounded size in memory. Everything else is read-only, / and /dev too, which would otherwise hold as much
 * as half of the host's memory.
 */
export function wallArguments(
  jail: Jail,
  options: { readonly filter: boolean; readonly cwd?: string },
): string[] {
  const readOnly = jail.readOnly ?? [];
  const writable = jail.writable ?? [];
  const { overlay, limits, env = {} } = jail;
  const inside = ({ from, at: place }: Bind) => place ?? from;
  return [
    ...['bwrap', '--unshare-user', '--unshare-pid', '--unshare-net', '--unshare-ipc', '--unshare-uts'],
    ...['--unshare-cgroup-try', '--disable-userns', '--cap-drop', 'ALL', '--uid', '1000', '--gid', '1000'],
    ...['--hostname', 'sandbox', '--die-with-parent', '--new-session', '--clearenv'],
    ...['--json-status-fd', String(REPORT_FD)],
    ...(options.filter ? ['--seccomp', String(FILTER_FD)] : []),
    ...Object.entries({ ...ENVIRONMENT, ...env }).flatMap(([name, value]) => ['--setenv', name, value]),
    ...systemFolders(),
    ...['--proc', '/proc', ...hiddenInProc(), '--dev', '/dev'],
    ...['--size', String(limits.tmp), '--tmpfs', '/dev/shm', '--size', String(limits.tmp), '--tmpfs', '/tmp'],
    ...(overlay === undefined ? [] : ['--bind', `${HALL}/tree`, overlay.at]),
    ...readOnly.flatMap((bind, i) => ['--ro-bind', `${HALL}/b${i}`, inside(bind)]),
    ...writable.flatMap((bind, i) => ['--bind', `${HALL}/b${readOnly.length + i}`, inside(bind)]),
    ...['--remount-ro', '/dev', '--remount-ro', '/'],
    ...['--chdir', options.cwd ?? jail.cwd ?? '/tmp'],
  ];
}

const ENVIRONMENT = { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', HOME: '/tmp', LC_ALL: 'C', TMPDIR: '/tmp' };

/** Programs and libraries; nothing of /etc but what finding them needs. */
function systemFolders(): string[] {
  const folders = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'].filter((dir) => existsSync(dir));
  return [
    ...['--ro-bind', '/usr', '/usr'],
    // /usr is merged, or it is not
    ...folders.flatMap((dir) =>
      lstatSync(dir).isSymbolicLink() ? ['--symlink', readlinkSync(dir), dir] : ['--ro-bind', dir, dir],
    ),
    ...['/etc/ld.so.cache', '/etc/alternatives'].flatMap((path) => ['--ro-bind-try', path, path]),
  ];
}

/** What tells about the whole host or could change it, in a file system that is there for processes. */
const HIDDEN_FOLDERS = ['sys', 'irq', 'bus', 'fs', 'acpi', 'scsi', 'asound'];
const HIDDEN_FILES = [
  ...['cmdline', 'keys', 'key-users', 'kcore', 'kmsg', 'sysrq-trigger'],
  ...['timer_list', 'sched_debug', 'latency_stats'],
];

function hiddenInProc(): string[] {
  const present = (names: readonly string[]) =>
    names.map((name) => `/proc/${name}`).filter((path) => existsSync(path));
  return [
    ...present(HIDDEN_FOLDERS).flatMap((path) => ['--size', '4096', '--tmpfs', path, '--remount-ro', path]),
    ...present(HIDDEN_FILES).flatMap((path) => ['--ro-bind', `${HALL}/empty`, path]),
  ];
}
