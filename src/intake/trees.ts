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
