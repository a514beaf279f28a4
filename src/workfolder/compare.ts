import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { interrupted } from '../errors.js';
import type { Step } from '../events.js';

/** A path that is not the same in both trees; what is absent on a side has no stats there. */
export interface Difference {
  readonly path: string;
  readonly kind: 'added' | 'changed' | 'deleted';
  readonly before?: Stats;
  readonly after?: Stats;
  /** It lies in a folder that the exercise leaves out, where only changes of the tree's own files are looked for. */
  readonly leftOut: boolean;
}

export interface CompareRequest {
  readonly pristine: string;
  readonly work: string;
  /** Names of files and folders, at any depth, that the exercise leaves out. */
  readonly leftOut: readonly string[];
  /** Files of the work tree whose inode changed before this time (ms) are known to be as they were copied. */
  readonly copied: number;
}

/**
 * What differs between a vanilla tree and a work tree made of it, by content, kind of file and executable bit, sorted
 * by path. Times and other permissions do not count, nor do empty folders. Both trees must be at rest.
 *
 * Synchronous calls are several times as fast here as asynchronous ones; other work gets its turn now and then.
 *
 * @throws LabError `interrupted`.
 */
export async function compareTrees(request: CompareRequest, step: Step): Promise<Difference[]> {
  const names = new Set([...request.leftOut, '.git']);
  const differences: Difference[] = [];
  const folders: Folder[] = [{ path: '', leftOut: false }];
  let seen = 0;
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const before = entriesOf(join(request.pristine, folder.path));
    const after = entriesOf(join(request.work, folder.path));
    for (const name of new Set([...before.keys(), ...after.keys()])) {
      const path = folder.path === '' ? name : `${folder.path}/${name}`;
      const entry = { path, leftOut: folder.leftOut || names.has(name) };
      if (entry.leftOut && !before.has(name)) continue;
      const was = before.get(name);
      const is = after.get(name);
      if (was === 'folder' || is === 'folder') folders.push(entry);
      if (was !== 'file' && is !== 'file') continue;
      const difference = differenceOf(entry, was === 'file', is === 'file', request);
      if (difference !== undefined) differences.push(difference);
      seen += 1;
    }
    await breathe(step, seen);
  }
  return differences.sort((a, b) => (a.path < b.path ? -1 : 1));
}

interface Folder {
  readonly path: string;
  readonly leftOut: boolean;
}

/** Of a folder, with everything that is no folder as `file`; what is not there has no entries. */
function entriesOf(folder: string): Map<string, 'folder' | 'file'> {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    return new Map(entries.map((entry) => [entry.name, entry.isDirectory() ? 'folder' : 'file']));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return new Map();
    throw error;
  }
}

function differenceOf(
  { path, leftOut }: Folder,
  was: boolean,
  is: boolean,
  { pristine, work, copied }: CompareRequest,
): Difference | undefined {
  const after = is ? lstatSync(join(work, path)) : undefined;
  if (was && after !== undefined && after.ctimeMs < copied) return undefined;
  const before = was ? lstatSync(join(pristine, path)) : undefined;
  if (before === undefined || after === undefined) {
    if (leftOut) return undefined;
    return after === undefined
      ? { path, kind: 'deleted', leftOut, ...(before === undefined ? {} : { before }) }
      : { path, kind: 'added', leftOut, after };
  }
  const same = isSame(
    { path: join(pristine, path), stats: before },
    { path: join(work, path), stats: after },
  );
  return same ? undefined : { path, kind: 'changed', before, after, leftOut };
}

interface Side {
  readonly path: string;
  readonly stats: Stats;
}

function isSame(before: Side, after: Side): boolean {
  const [a, b] = [before.stats, after.stats];
  if (a.isSymbolicLink() && b.isSymbolicLink()) return readlinkSync(before.path) === readlinkSync(after.path);
  if (!a.isFile() || !b.isFile() || a.size !== b.size || isExecutable(a) !== isExecutable(b)) return false;
  return readFileSync(before.path).equals(readFileSync(after.path));
}

export function isExecutable(stats: Stats): boolean {
  return (stats.mode & 0o100) !== 0;
}

async function breathe(step: Step, seen: number): Promise<void> {
  if (step.signal.aborted) throw interrupted('comparing source trees');
  step.progress(seen, undefined, 'steps');
  await setImmediate();
}
