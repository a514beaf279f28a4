import { open, writeFile } from 'node:fs/promises';
import { LabError } from '../errors.js';
import { run } from '../host/run.js';
import type { Entry, Tree } from './tree.js';

export interface Ext4Request {
  readonly tree: Tree;
  /** Path of the raw image, which must not exist. */
  readonly to: string;
  /** Path for the list of commands that fill it. */
  readonly script: string;
  readonly sizeMiB: number;
  readonly log: string;
  readonly signal: AbortSignal;
  /** Milliseconds for each tool. */
  readonly timeout: number;
}

/** All times in the image, seconds since 1970 (2024-01-01): they must not depend on when it was made. */
const EPOCH = 1_704_067_200;
const IDENTITY = '6c61622d-726f-4f74-8000-6c61622d7631';

/** Listed in full, because the defaults of a host's mke2fs.conf differ. */
const FEATURES = [
  ...['none', 'has_journal', 'ext_attr', 'dir_index', 'filetype', 'extent', 'flex_bg', 'sparse_super'],
  ...['large_file', 'huge_file', 'dir_nlink', 'extra_isize', 'metadata_csum'],
];

/**
 * Makes a raw image of an ext4 file system without root and without mounting it; the same tree with the same tools
 * gives the same bytes.
 *
 * debugfs fills it from a sorted list of commands. `mke2fs -d` would copy owners, change times and the order of
 * names from the host's folder, and cannot be told otherwise before e2fsprogs 1.47.1.
 *
 * @throws LabError `image/file-system` when a tool refused a command, and those of `run`.
 */
export async function makeExt4(request: Ext4Request): Promise<void> {
  const { to, script, log, signal, timeout } = request;
  const env = {
    E2FSPROGS_FAKE_TIME: String(EPOCH),
    SOURCE_DATE_EPOCH: String(EPOCH),
    MKE2FS_CONFIG: '/dev/null',
    // The tools stand in folders that are not on an ordinary user's path.
    PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin`,
  };
  const options = { env, log, signal, timeout };
  await (await open(to, 'wx')).close();
  await run('mke2fs', mke2fsArguments(to, request.sizeMiB), options);
  await writeFile(script, debugfsScript(request.tree));
  const filled = await run('debugfs', ['-w', '-f', script, to], options);
  const complaints = filled.stderr.split('\n').filter((line) => line !== '' && !/^debugfs \d/.test(line));
  if (complaints.length > 0) throw refused(complaints, log);
  await run('e2fsck', ['-f', '-n', to], options);
}

function mke2fsArguments(to: string, sizeMiB: number): string[] {
  return [
    ...['-q', '-F', '-t', 'ext4', '-b', '4096', '-I', '256', '-O', FEATURES.join(',')],
    ...['-N', String(sizeMiB * 16), '-J', 'size=8', '-m', '0'],
    ...['-L', 'lab-root', '-U', IDENTITY, '-o', 'linux'],
    // The file is new and sparse, so nothing needs zeroing, neither now nor by the kernel in the background.
    ...['-E', `hash_seed=${IDENTITY},root_owner=0:0,lazy_itable_init=0,assume_storage_prezeroed=1,nodiscard`],
    ...[to, `${sizeMiB}M`],
  ];
}

/** The commands of debugfs(8) that make `tree` in an empty file system, parents first, names sorted. */
export function debugfsScript(tree: Tree): string {
  const lines: string[] = ['set_inode_field / mode 040755'];
  let folder: string | undefined;
  for (const entry of [...tree.values()].sort((a, b) => compare(a.path, b.path))) {
    const cut = entry.path.lastIndexOf('/');
    const parent = entry.path.slice(0, cut) || '/';
    if (parent !== folder) lines.push(`cd ${quoted(parent)}`);
    folder = parent;
    lines.push(...commands(entry, entry.path.slice(cut + 1)));
  }
  return `${lines.join('\n')}\n`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function commands(entry: Entry, name: string): string[] {
  const inode = quoted(entry.path);
  const owner = [
    ...(entry.uid === 0 ? [] : [`set_inode_field ${inode} uid ${entry.uid}`]),
    ...(entry.gid === 0 ? [] : [`set_inode_field ${inode} gid ${entry.gid}`]),
  ];
  if (entry.kind === 'link') return [`symlink ${quoted(name)} ${quoted(entry.target)}`, ...owner];
  const [make, type] =
    entry.kind === 'directory'
      ? [`mkdir ${quoted(name)}`, 0o040000]
      : [`write ${quoted(entry.source)} ${quoted(name)}`, 0o100000];
  return [make, `set_inode_field ${inode} mode 0${(type | entry.mode).toString(8)}`, ...owner];
}

/** debugfs cuts its commands at blanks outside double quotes; inside, a quote is written twice. */
function quoted(text: string): string {
  if (/[\n\r]/.test(text)) throw refused([`a name with a line break: ${JSON.stringify(text)}`], undefined);
  return /^[\w/.+,@:=~%-]+$/.test(text) ? text : `"${text.replaceAll('"', '""')}"`;
}

function refused(lines: readonly string[], log: string | undefined): LabError {
  return new LabError({
    code: 'image/file-system',
    blame: 'host',
    fact: 'the guest file system could not be filled',
    evidence: lines.slice(0, 10),
    log,
    next: 'check the free space of the cache and that e2fsprogs is at least 1.47',
  });
}
