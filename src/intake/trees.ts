import { readFileSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Project } from './submission.js';

/** The pristine source trees that a hand-in is read against. */
export type Trees = Readonly<Record<Project, PristineTree>>;

export interface PristineTree {
  /** Host path. */
  readonly tree: string;
  /** The version in use, and the one that the exercise names. */
  readonly version: string;
  readonly wanted: string;
}

export const projects: readonly Project[] = ['qemu', 'linux'];

export function hasFile(tree: PristineTree, path: string): boolean {
  return lookUp(tree, path)?.isFile() ?? false;
}

export function hasFolder(tree: PristineTree, path: string): boolean {
  return lookUp(tree, path)?.isDirectory() ?? false;
}

/** Longer names, as hostile patches have, are an error of the file system instead of absent. */
const LONGEST_PATH = 250;

function lookUp({ tree }: PristineTree, path: string): Stats | undefined {
  if (path.length > LONGEST_PATH || /[^\x20-\x7e]/.test(path) || path.split('/').includes('..'))
    return undefined;
  return statSync(join(tree, path), { throwIfNoEntry: false });
}

/** A file of the tree with one character per byte, if it is there. */
export function textIn(tree: PristineTree, path: string): string | undefined {
  return hasFile(tree, path) ? readFileSync(join(tree.tree, path), 'latin1') : undefined;
}

/**
 * Tells files that belong to a source tree, by the end of their name: `linux-6.6/fs/ext4/inode.c`. Such files come by
 * the ten thousand, so that the place of each folder is looked up once.
 */
export function treeFileTest(trees: Trees): (name: string) => boolean {
  const roots = new Map<string, FolderPlace[]>();
  return (name) => {
    const slash = name.lastIndexOf('/');
    if (slash === -1) return false;
    const folder = name.slice(0, slash);
    const known = roots.get(folder) ?? placesOf(folder, trees);
    roots.set(folder, known);
    return known.some(({ project, dir }) => hasFile(trees[project], `${dir}/${name.slice(slash + 1)}`));
  };
}

interface FolderPlace {
  readonly project: Project;
  readonly dir: string;
}

function placesOf(folder: string, trees: Trees): FolderPlace[] {
  const parts = folder.split('/');
  return projects.flatMap((project) => {
    const at = parts.findIndex((_, i) => hasFolder(trees[project], parts.slice(i).join('/')));
    return at === -1 ? [] : [{ project, dir: parts.slice(at).join('/') }];
  });
}
