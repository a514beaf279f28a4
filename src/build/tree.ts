import { lstat, readFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { LabError } from '../errors.js';
import { digestFile, type Json } from '../host/store.js';
import type { Contribution, EditContribution, TreeFile } from './contribution.js';
import { insertText } from './edit.js';
import { applyPatch } from './patch.js';

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
    } else if (by.kind === 'removal') {
      changes.set(insideTree(by.path, by), { file: undefined, by });
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
      if (item.kind === 'removal') return { kind: item.kind, path: item.path };
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
