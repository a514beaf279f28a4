import { randomInt } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { quote } from '../host/run.js';
import type { ControlGroup, JailLimits } from './limits.js';
import { systemCallFilter } from './seccomp.js';
import type { Extraction, Jail } from './spec.js';
import { FILTER_FD, HALL, REPORT_FD, wallArguments } from './walls.js';

export interface Surroundings {
  /** Folder with `hall`, a mount point, and `status`, a file. */
  readonly stage: string;
  readonly asRoot: boolean;
  readonly group: Pick<ControlGroup, 'joinFiles'> | undefined;
  readonly extraction: Extraction | undefined;
}

/** Where the status is written, from outside, and once from inside before anybody's code has run. */
const STATUS_FD = 21;
const ARCHIVE_FD = 22;
/** For reading what bubblewrap reports. */
const READ_FD = 24;

/** Script for bash in a mount namespace of its own: builds the jail and starts the command `"$@"` in it. */
export function enterScript(jail: Jail, surroundings: Surroundings): string {
  const { asRoot, group, extraction } = surroundings;
  const { limits } = jail;
  const filter = systemCallFilter();
  const drop = asRoot ? dropRoot() : [];
  const inJail = (fileSize: number, cwd?: string) =>
    [
      ...drop,
      ...prlimit({ ...limits, fileSize }, group !== undefined),
      ...wallArguments(jail, { filter: filter !== undefined, ...(cwd === undefined ? {} : { cwd }) }),
    ]
      .map(quote)
      .join(' ');
  const descriptors = `${REPORT_FD}>&${STATUS_FD}${filter === undefined ? '' : ` ${FILTER_FD}<${HALL}/filter`}`;
  const command = `${inJail(limits.fileSize)} -- ${BEGIN} "$@" ${descriptors}`;
  return [
    ...hall(jail, surroundings),
    ': > empty',
    ...(filter === undefined ? [] : [`printf ${quote(octal(filter))} > filter`]),
    `mount --rbind . ${HALL}`, // its own place may be closed to the jail's user id
    ...(group?.joinFiles ?? []).map((file) => `echo $$ > ${quote(file)}`),
    ...(extraction === undefined
      ? [`exec ${command}`]
      : [
          `code=0; ${command} ${ARCHIVE_FD}>&- ${READ_FD}<&- || code=$?`,
          AWAIT_END,
          `copied=0; ${inJail(limits.scratch, jail.overlay?.at)} -- ${pack(extraction)} \\`,
          `  >&${ARCHIVE_FD} 2>/dev/null ${descriptors} ${STATUS_FD}>&- ${ARCHIVE_FD}>&- ${READ_FD}<&- || copied=$?`,
          `echo "extracted $copied" >&${STATUS_FD}`,
          'exit $code',
        ]),
  ].join('\n');
}

/**
 * As `enterScript`, without walls and limits: the overlay alone is kept, so that what is written to the tree does not
 * last. Folders of the host that lack a mount point get a throw-away layer for it.
 */
export function openScript(jail: Jail, surroundings: Surroundings): string {
  const { overlay, env = {}, cwd = '/tmp' } = jail;
  const { extraction } = surroundings;
  const binds = [...(jail.readOnly ?? []), ...(jail.writable ?? [])];
  const places = [
    ...(overlay === undefined ? [] : [{ from: 'tree', at: overlay.at, folder: true }]),
    ...binds.map(({ from, at = from }, i) => ({ from: `b${i}`, at, folder: statSync(from).isDirectory() })),
  ];
  const missing = places.filter(({ at }) => !existsSync(at));
  const tops = new Set(
    missing.map(({ at }) => at.split('/')[1] ?? '').filter((top) => existsSync(`/${top}`)),
  );
  const settings = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const start = ['chroot', 'root', '/usr/bin/env', `--chdir=${cwd}`, 'HOME=/tmp', 'LC_ALL=C', ...settings];
  const command = `${start.map(quote).join(' ')} ${BEGIN} "$@"`;
  return [
    ...hall(jail, surroundings),
    'mkdir root',
    'for top in /* /.[!.]*; do',
    '  if [ -L "$top" ]; then cp -P "$top" root/; elif [ -d "$top" ]; then mkdir "root$top"; mount --rbind "$top" "root$top"; fi',
    'done',
    ...[...tops].flatMap((top) => [
      `mkdir -p ${quote(`over/${top}`)} ${quote(`aside/${top}`)}`,
      `mount -t overlay -o ${quote(`userxattr,lowerdir=/${top},upperdir=over/${top},workdir=aside/${top}`)} overlay ${quote(`root/${top}`)}`,
    ]),
    ...places.flatMap(({ from, at, folder }) => {
      const target = quote(join('root', at));
      const make = folder
        ? `mkdir -p ${target}`
        : `mkdir -p ${quote(join('root', dirname(at)))}; : >> ${target}`;
      return [...(existsSync(at) ? [] : [make]), `mount --bind ${from} ${target}`];
    }),
    ...(extraction === undefined
      ? [`exec ${command}`]
      : [
          `code=0; ${command} ${ARCHIVE_FD}>&- || code=$?`,
          `copied=0; (cd tree && ${pack(extraction)}) >&${ARCHIVE_FD} 2>/dev/null ${STATUS_FD}>&- || copied=$?`,
          `echo "extracted $copied" >&${STATUS_FD}`,
          'exit $code',
        ]),
  ].join('\n');
}

/** Everything that the jail is made of, mounted in the working directory. */
function hall(jail: Jail, { stage, extraction }: Surroundings): string[] {
  const { overlay, limits } = jail;
  const kept = ['0', '1', '2', ...(jail.descriptors ?? []), STATUS_FD].join('|');
  const binds = [...(jail.readOnly ?? []), ...(jail.writable ?? [])];
  return [
    'umask 022; export -n PWD OLDPWD SHLVL',
    `exec ${STATUS_FD}>>${quote(join(stage, 'status'))}`,
    // whatever we have inherited and not meant to hand on
    `for fd in /proc/$$/fd/*; do fd=\${fd##*/}; case $fd in ${kept}) ;; *) eval "exec $fd>&-" ;; esac; done`,
    ...(extraction === undefined
      ? []
      : [`exec ${ARCHIVE_FD}>>${quote(extraction.archive)} ${READ_FD}<${quote(join(stage, 'status'))}`]),
    `mount -t tmpfs -o size=${limits.scratch},nr_inodes=${INODES},mode=755,nosuid,nodev lab ${quote(join(stage, 'hall'))}`,
    `cd ${quote(join(stage, 'hall'))}`,
    ...(overlay === undefined ? [] : overlayCommands(overlay)),
    ...binds.flatMap(({ from }, i) => [
      statSync(from).isDirectory() ? `mkdir b${i}` : `: > b${i}`,
      `mount --bind ${quote(from)} b${i}`,
    ]),
  ];
}

/** Files that may be made in an overlay: each takes a kilobyte that no size limit counts. */
const INODES = 200_000;

/** Paths are relative, since what separates mount options may occur in absolute ones. */
function overlayCommands({ lower, edits }: NonNullable<Jail['overlay']>): string[] {
  return [
    'mkdir lower work tree; mkdir -m 777 upper',
    `mount --bind ${quote(lower)} lower`,
    // without userxattr the kernel refuses the overlay in a user namespace
    'mount -t overlay -o userxattr,nosuid,nodev,lowerdir=lower,upperdir=upper,workdir=work overlay tree',
    ...(edits?.remove ?? []).map((path) => `rm -f -- ${quote(join('tree', path))}`),
    ...(edits?.put ?? []).flatMap(({ from, to }) => {
      const target = join('tree', to);
      return [
        `mkdir -p -- ${quote(dirname(target))}`,
        `cp --remove-destination -- ${quote(from)} ${quote(target)}`,
      ];
    }),
  ];
}

/** The first thing inside says that the set-up is done. A program that cannot be executed then fails inside. */
const BEGIN = `/bin/bash -p -c ${quote(`echo begun >&${STATUS_FD}; exec ${STATUS_FD}>&-; exec -- "$@"`)} begin`;

/** Until nobody is left who could change what is to be copied: bubblewrap ends before its last process does. */
const AWAIT_END = `first=$(sed -n 's/.*"child-pid": \\([0-9]*\\).*/\\1/p' <&${READ_FD})
for moment in {1..5000}; do
  case $(cat "/proc/\${first:-none}/stat" 2>/dev/null) in ''|*') Z '*) break ;; esac
  sleep 0.001
done`;

/** Deeper, and more, than what any build that is in order makes; so many names of full length are still a path. */
const MAX_DEPTH = 12;
const MAX_ENTRIES = 5000;

/**
 * Copying must not follow what the code inside may have put in the way, so it is done from inside as well; and what
 * it did not leave as a regular file or a folder is left out.
 */
function pack({ paths }: Extraction): string {
  const list = `find "$@" -maxdepth ${MAX_DEPTH} ( -type f -o -type d ) -print0`.replaceAll(/[()]/g, '\\$&');
  const tar = [
    ...['tar', '-c', '-f', '-', '--null', '--no-recursion', '--hard-dereference', '--ignore-failed-read'],
    ...['--owner=0', '--group=0', '--mode=u=rwX,go=rX', '-T', '-'],
  ].join(' ');
  // the folder itself always: an archive of nothing is no archive
  const script = `{ printf '.\\0'; ${list}; } | head -z -n ${MAX_ENTRIES} | ${tar}`;
  return ['/bin/sh', '-c', script, 'pack', ...paths].map(quote).join(' ');
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

/** For printf(1): a filter holds zero bytes, which no argument can. */
function octal(bytes: Buffer): string {
  return [...bytes].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
}
