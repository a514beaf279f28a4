import { randomBytes, randomInt } from 'node:crypto';
import { existsSync, lstatSync, readlinkSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { quote } from '../host/run.js';
import { type ControlGroup, type JailLimits, makeControlGroup } from './limits.js';

/** A host path and where it is seen inside; the same place when `at` is absent. */
export interface Bind {
  readonly from: string;
  readonly at?: string;
}

/** Changes that we, not the code inside, make to the overlaid tree before that code starts. */
export interface TreeEdits {
  /** Host files, each with the path in the tree that it takes. */
  readonly put: readonly { readonly from: string; readonly to: string }[];
  /** Paths in the tree that are removed first. */
  readonly remove: readonly string[];
}

/** What code that nobody trusts can see and use. Everything else of the host does not exist for it. */
export interface Jail {
  /** The folder `lower` seen at `at`: whatever is written there is kept in memory and vanishes with the jail. */
  readonly overlay?: { readonly lower: string; readonly at: string; readonly edits?: TreeEdits };
  readonly readOnly?: readonly Bind[];
  /** Host files, not folders, that may be written. */
  readonly writable?: readonly Bind[];
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly limits: JailLimits;
}

/** A jail that a command can be started in. Disposing forgets it; its processes must have ended. */
export interface OpenJail extends AsyncDisposable {
  /** Goes before the program and its arguments. Descriptors are passed through. */
  readonly prefix: readonly string[];
}

/** How much of a command's surroundings is confined, in words, for reports. */
export const CONFINEMENT: readonly string[] = [
  'user, mount, process, network, IPC, host name and control group namespaces (bubblewrap), no further user namespaces',
  'no capabilities, no privileges to be gained, its own user id on the host',
  "no network, not even the host's loopback; no home folder; an empty environment",
  '/usr read-only; a private overlay in memory over the prebuilt tree',
  'limits on memory, processes, file size, written bytes, CPU time, output and time',
];

/**
 * Prepares a jail: bubblewrap with all namespaces over a mount namespace of our own, in which we (and not the code
 * inside) mount the overlay and the few host files that it may see.
 *
 * Who runs as root gives the code inside a user id of its own: user id 0 of a user namespace would still be the
 * host's own 0 where the kernel asks for just that, as in /proc/sys. An ordinary user's code stays that user, whose
 * files are out of reach because they are not mounted.
 */
export async function openJail(jail: Jail, extract: readonly string[] = []): Promise<OpenJail> {
  const stage = await mkdtemp(join(tmpdir(), 'lab-jail-'));
  await chmod(stage, 0o755);
  const asRoot = process.getuid?.() === 0;
  const group = asRoot
    ? await makeControlGroup(`lab-${randomBytes(6).toString('hex')}`, jail.limits)
    : undefined;
  const namespaces = asRoot ? ['--mount'] : ['--user', '--map-root-user', '--mount'];
  const script = enterScript(jail, { stage, asRoot, group, extract });
  return {
    prefix: ['unshare', ...namespaces, '--propagation', 'private', '--', '/bin/sh', '-euc', script, 'jail'],
    [Symbol.asyncDispose]: async () => {
      await group?.remove();
      await rm(stage, { recursive: true, force: true });
    },
  };
}

interface Surroundings {
  readonly stage: string;
  readonly asRoot: boolean;
  readonly group: ControlGroup | undefined;
  readonly extract: readonly string[];
}

/** Runs before anything of the submission does; `"$@"` is the command. */
function enterScript(jail: Jail, { stage, asRoot, group, extract }: Surroundings): string {
  const { overlay, limits } = jail;
  const binds = [...(jail.readOnly ?? []), ...(jail.writable ?? [])];
  const q = quote;
  const at = (name: string) => join(stage, name);
  const tree = overlay === undefined ? [] : overlayCommands(overlay, at);
  const inside = bwrap(jail, at);
  const drop = [...(asRoot ? dropRoot() : []), ...prlimit(limits, group !== undefined)];
  const command = [...drop, ...inside].map(q).join(' ');
  return [
    'umask 022',
    `mount -t tmpfs -o size=${limits.scratch},mode=755 lab ${q(stage)}`,
    ...tree,
    ...binds.flatMap(({ from }, i) => [
      lstatSync(from).isDirectory() ? `mkdir ${q(at(`b${i}`))}` : `: > ${q(at(`b${i}`))}`,
      `mount --bind ${q(from)} ${q(at(`b${i}`))}`,
    ]),
    ...(group?.joinFiles ?? []).map((file) => `echo $$ > ${q(file)}`),
    extract.length === 0 ? `exec ${command} -- "$@"` : withExtraction(command, overlay?.at ?? '/', extract),
  ].join('\n');
}

/** The copy must not follow what the code inside may have put in the way, so it is made from inside as well. */
function withExtraction(command: string, root: string, extract: readonly string[]): string {
  const pack = ['tar', '-c', '-f', '-', '--ignore-failed-read', '-C', root, '--', ...extract]
    .map(quote)
    .join(' ');
  return [
    'out=$1; shift; code=0',
    `${command} -- "$@" 3>&- || code=$?`,
    `${command} -- ${pack} > "$out" 2>/dev/null || :`,
    'exit $code',
  ].join('\n');
}

function overlayCommands(
  { lower, edits }: NonNullable<Jail['overlay']>,
  at: (name: string) => string,
): string[] {
  const q = quote;
  const layers = `lowerdir=${at('lower')},upperdir=${at('upper')},workdir=${at('work')}`;
  return [
    `mkdir -m 755 ${['lower', 'work', 'tree'].map((name) => q(at(name))).join(' ')}`,
    `mkdir -m 777 ${q(at('upper'))}`,
    `mount --bind ${q(lower)} ${q(at('lower'))}`, // its own path may hold what separates mount options
    // without userxattr the kernel refuses the overlay in a user namespace
    `mount -t overlay overlay -o ${q(`userxattr,${layers}`)} ${q(at('tree'))}`,
    ...(edits === undefined
      ? []
      : [
          ...edits.remove.map((path) => `rm -f ${q(join(at('tree'), path))}`),
          ...edits.put.flatMap(({ from, to }) => {
            const target = join(at('tree'), to);
            return [`mkdir -p ${q(dirname(target))}`, `cp ${q(from)} ${q(target)}`];
          }),
        ]),
  ];
}

/** Each jail gets an id that no account and no other jail has. */
function dropRoot(): string[] {
  const id = String(0x7000_0000 + randomInt(0x0fff_0000));
  return [
    ...['setpriv', `--reuid=${id}`, `--regid=${id}`, '--clear-groups'],
    ...['--inh-caps=-all', '--bounding-set=-all', '--no-new-privs', '--'],
  ];
}

function prlimit(limits: JailLimits, grouped: boolean): string[] {
  return [
    'prlimit',
    `--nproc=${limits.processes}`,
    `--fsize=${limits.fileSize}`,
    `--cpu=${limits.cpuSeconds}`,
    ...['--core=0', '--nofile=1024', '--memlock=65536', '--msgqueue=0'],
    // address space is a poor measure of memory, taken only where there is no better one
    ...(grouped ? [] : [`--as=${limits.memory * 4}`]),
    '--',
  ];
}

function bwrap(jail: Jail, at: (name: string) => string): string[] {
  const readOnly = jail.readOnly ?? [];
  const writable = jail.writable ?? [];
  const { overlay, limits, cwd = '/tmp', env = {} } = jail;
  const inside = ({ from, at: place }: Bind) => place ?? from;
  return [
    ...['bwrap', '--unshare-user', '--unshare-pid', '--unshare-net', '--unshare-ipc', '--unshare-uts'],
    ...['--unshare-cgroup-try', '--disable-userns', '--cap-drop', 'ALL', '--hostname', 'sandbox'],
    ...['--die-with-parent', '--new-session', '--clearenv'],
    ...Object.entries({ ...ENVIRONMENT, ...env }).flatMap(([name, value]) => ['--setenv', name, value]),
    ...systemFolders(),
    ...['--proc', '/proc', '--ro-bind', '/proc/sys', '/proc/sys', '--dev', '/dev'],
    ...['--size', String(limits.tmp), '--tmpfs', '/tmp'],
    ...(overlay === undefined ? [] : ['--bind', at('tree'), overlay.at]),
    ...readOnly.flatMap((bind, i) => ['--ro-bind', at(`b${i}`), inside(bind)]),
    ...writable.flatMap((bind, i) => ['--bind', at(`b${readOnly.length + i}`), inside(bind)]),
    ...['--chdir', cwd],
  ];
}

const ENVIRONMENT = { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', HOME: '/tmp', LC_ALL: 'C', TMPDIR: '/tmp' };

/** Programs and libraries; nothing of /etc but what finding them needs. */
function systemFolders(): string[] {
  const folders = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'].filter((dir) => existsSync(dir));
  return [
    ...['--ro-bind', '/usr', '/usr'],
    ...folders.flatMap((dir) =>
      lstatSync(dir).isSymbolicLink() ? ['--symlink', readlinkSync(dir), dir] : ['--ro-bind', dir, dir],
    ),
    ...['/etc/ld.so.cache', '/etc/alternatives'].flatMap((path) => ['--ro-bind-try', path, path]),
  ];
}
