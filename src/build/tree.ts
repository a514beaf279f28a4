import { lstat, readFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { type Blame, LabError } from '../errors.js';
import { digestFile, type Json } from '../host/store.js';
import { insertText } from './edit.js';
import { applyPatch } from './patch.js';

/** One thing that is put into somebody else's source tree. */
export type Contribution = (FileContribution | EditContribution | PatchContribution) & {
  /** Who has to act when it does not fit or does not compile; default `user`. */
  readonly blame?: Blame;
};

/** A file of ours at the path `to` of the tree; `from` is a path of the host. */
export interface FileContribution {
  readonly kind: 'file';
  readonly to: string;
  readonly from: string;
}

/** Lines added to a file of the tree: at its end, or next to an anchor that occurs exactly once. */
export interface EditContribution {
  readonly kind: 'edit';
  readonly path: string;
  readonly where: EditPlace;
  readonly text: string;
}

/** `after` and `before` hold one or more whole lines; leading and trailing blanks of a line do not count. */
export type EditPlace = 'end' | { readonly after: string } | { readonly before: string };

/** A unified diff at the host path `from`; `strip` leading components are taken off its names (default 1). */
export interface PatchContribution {
  readonly kind: 'patch';
  readonly from: string;
  readonly strip?: number;
}

/** A file as it has to be in the tree. */
export interface TreeFile {
  readonly data: Buffer;
  readonly executable: boolean;
}

/** A path of the tree that contributions touch. */
export interface TreeChange {
  /** The new content; `undefined` when the file is deleted. */
  readonly file: TreeFile | undefined;
  /** The last contribution that touched it. */
  readonly by: Contribution;
}

export type TreeChanges = ReadonlyMap<string, TreeChange>;

/**
 * What `contributions`, applied in order, make of the unpacked tree `pristine`. Neither is changed.
 *
 * @throws LabError `build/path` for a path outside the tree, `build/missing-file`, `build/anchor`, `build/patch`.
 */
export async function applyContributions(
  pristine: string,
  contributions: readonly Contribution[],
  options: { readonly signal: AbortSignal; readonly timeout: number },
): Promise<TreeChanges> {
  const changes = new Map<string, TreeChange>();
  const read = async (path: string) => {
    const change = changes.get(path);
    return change === undefined ? await readTreeFile(pristine, path) : change.file;
  };
  for (const by of contributions) {
    if (by.kind === 'file') {
      changes.set(insideTree(by.to, by), { file: await readContributed(by.from, by), by });
    } else if (by.kind === 'edit') {
      const path = insideTree(by.path, by);
      changes.set(path, { file: await edited(path, await read(path), by), by });
    } else {
      const patched = await applyPatch(by, read, options);
      for (const [path, file] of patched) changes.set(insideTree(path, by), { file, by });
    }
  }
  return changes;
}

/** Everything about `contributions` that decides what is built; host paths do not. */
export async function describeContributions(contributions: readonly Contribution[]): Promise<Json> {
  return await Promise.all(
    contributions.map(async (item): Promise<Json> => {
      if (item.kind === 'edit') {
        return { kind: item.kind, path: item.path, where: item.where as Json, text: item.text };
      }
      await readContributed(item.from, item);
      const sha256 = await digestFile(item.from);
      return item.kind === 'file'
        ? { kind: item.kind, to: item.to, sha256 }
        : { kind: item.kind, sha256, strip: item.strip ?? 1 };
    }),
  );
}

/** The regular file `path` below `root`; `undefined` when there is none. */
export async function readTreeFile(root: string, path: string): Promise<TreeFile | undefined> {
  const full = join(root, path);
  const stat = await lstat(full).catch(() => undefined);
  if (!stat?.isFile()) return undefined;
  return { data: await readFile(full), executable: (stat.mode & 0o100) !== 0 };
}

async function readContributed(from: string, item: Contribution): Promise<TreeFile> {
  const stat = await lstat(from).catch(() => undefined);
  if (stat?.isFile()) return { data: await readFile(from), executable: (stat.mode & 0o100) !== 0 };
  throw new LabError({
    code: 'build/missing-file',
    blame: item.blame ?? 'user',
    fact: `${from}, which is to go into a source tree, is not a readable file`,
    next: 'check the path',
  });
}

async function edited(path: string, file: TreeFile | undefined, item: EditContribution & Contribution) {
  if (file === undefined) {
    throw new LabError({
      code: 'build/anchor',
      blame: item.blame ?? 'user',
      fact: `${path}, which is to be edited, does not exist in the source tree`,
      next: 'use a supported version of the source, or adapt the edit to this one',
    });
  }
  const text = insertText(file.data.toString('utf8'), item.where, item.text, {
    path,
    blame: item.blame ?? 'user',
  });
  return { data: Buffer.from(text), executable: file.executable };
}

function insideTree(path: string, item: Contribution): string {
  const clean = posix.normalize(path);
  const outside = posix.isAbsolute(clean) || clean === '..' || clean.startsWith('../') || clean === '.';
  if (!outside && !clean.endsWith('/') && !clean.includes('\0')) return clean;
  throw new LabError({
    code: 'build/path',
    blame: item.blame ?? 'user',
    fact: `${JSON.stringify(path)} is not the path of a file inside the source tree`,
    next: 'name the file relative to the top of the source tree',
  });
}
