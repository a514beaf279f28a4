import { posix } from 'node:path';
import type { HandedFile } from './collect.js';
import { looksLikePatch } from './patch-parse.js';
import { problem } from './problems.js';
import { BUILD_NAME, isDocument, isReport, noPatch, PATCH_NAME, type Recognised } from './recognise.js';
import type { IntakeProblem } from './submission.js';
import { isBinary, plainText, withoutComments } from './text.js';

/** The files of a hand-in of modules by what they are. */
export interface ModuleFiles {
  readonly patches: Recognised[];
  /** C for the kernel that can be a module. */
  readonly sources: Recognised[];
  /** C with a `main`. */
  readonly programs: Recognised[];
  /** All other C, and assembly. */
  readonly helpers: Recognised[];
  readonly headers: Recognised[];
  readonly makefiles: Recognised[];
  readonly reports: string[];
  readonly others: string[];
  readonly problems: IntakeProblem[];
}

/** Tells by content, and by name only where content cannot tell. */
export function sortModuleFiles(files: readonly HandedFile[]): ModuleFiles {
  const sorted: ModuleFiles = {
    ...{ patches: [], sources: [], programs: [], helpers: [], headers: [], makefiles: [] },
    ...{ reports: [], others: [], problems: [] },
  };
  for (const file of [...files].sort((a, b) => (a.name < b.name ? -1 : 1))) sortOne(file, sorted);
  return sorted;
}

function sortOne({ name, data }: HandedFile, sorted: ModuleFiles): void {
  const base = posix.basename(name);
  if (isDocument(data) || isBinary(data) || data.length === 0) sortOpaque(name, data, sorted);
  else sortReadable({ name, ...plainText(data) }, base, sorted);
}

function sortReadable(file: Recognised, base: string, sorted: ModuleFiles): void {
  if (isReport(base)) sorted.reports.push(file.name);
  else if (looksLikePatch(file.text)) sorted.patches.push(file);
  else if (PATCH_NAME.test(base)) sorted.problems.push(noPatch(file));
  else sortText(file, sorted);
}

/** Puts a text that is no patch where it belongs. */
export function sortText(file: Recognised, sorted: ModuleFiles): void {
  const base = posix.basename(file.name);
  if (BUILD_NAME.test(base)) sorted.makefiles.push(file);
  else if (/\.h$/i.test(base)) sorted.headers.push(file);
  else if (/\.S$/.test(base)) sorted.helpers.push(file);
  else if (/\.c$/i.test(base)) sortSource(file, sorted);
  else sorted.others.push(file.name);
}

const MODULE_MARKS =
  /\b(module_init|module_exit|MODULE_LICENSE|module_\w+_driver)\s*\(|#\s*include\s*<linux\/module\.h>/;

function sortSource(file: Recognised, sorted: ModuleFiles): void {
  const text = withoutComments(file.text);
  if (MODULE_MARKS.test(text)) sorted.sources.push(file);
  else if (/\bmain\s*\(/.test(text)) sorted.programs.push(file);
  else sorted.helpers.push(file);
}

function sortOpaque(name: string, data: Buffer, sorted: ModuleFiles): void {
  if (PATCH_NAME.test(name)) {
    const what = data.length === 0 ? 'is empty' : 'is no text, and so no patch';
    sorted.problems.push(
      problem(`${name} ${what}`, 'hand in the text that `git diff` or `diff -urN` prints, or the sources'),
    );
  } else if (data.length > 0 && /\.(pdf|docx|odt)$/i.test(name)) sorted.reports.push(name);
  else sorted.others.push(name);
}
