import { readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { type Section, writeHunk } from './patch.js';
import { sectionsIn } from './patch-read.js';
import type { Part } from './submission.js';
import { readable } from './text.js';

/** A change to a file that says what is built and how: a grader looks at it. */
export interface BuildFileDiff {
  readonly path: string;
  /** Its hunks, as in a unified diff. */
  readonly diff: string;
}

/** The hunks of a part that touch build files or configurations. */
export function buildFileChanges(part: Part): BuildFileDiff[] {
  const sections = sectionsIn(readFileSync(part.patch, 'latin1'));
  return sections.filter(({ path }) => isBuildFile(path)).map(diffOf);
}

function isBuildFile(path: string): boolean {
  const base = posix.basename(path);
  return (
    /^(meson(\.build|_options\.txt)|Kconfig.*|Makefile.*|Kbuild.*|GNUmakefile|.*\.(mk|mak|config))$/.test(
      base,
    ) ||
    /_defconfig$/.test(base) ||
    /(^|\/)configs\//.test(path)
  );
}

function diffOf({ path, hunks }: Section): BuildFileDiff {
  return { path, diff: readable(hunks.map(writeHunk).join('\n')) };
}
