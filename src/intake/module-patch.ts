import { posix } from 'node:path';
import { counted, isBuildProduct } from './names.js';
import type { FileDiff } from './patch.js';
import { parsePatch } from './patch-parse.js';
import { problem } from './problems.js';
import type { Recognised } from './recognise.js';
import type { IntakeProblem } from './submission.js';
import { readable } from './text.js';

/** The sources that a patch adds, as files. */
export interface PatchedFiles {
  readonly files: readonly Recognised[];
  readonly changes: readonly string[];
  readonly problems: readonly IntakeProblem[];
}

/**
 * A patch that adds modules, to a source tree of Linux or to an empty folder, as the files that it adds. Of a makefile
 * of the tree the added lines count; other files of the tree that go with a new driver are passed over; a patch that
 * changes anything else is not used at all.
 *
 * @param text as `plainText` gives it.
 */
export function filesInPatch({ name, text, changes: done }: Recognised): PatchedFiles {
  const parsed = parsePatch(text);
  const own = parsed.files.filter((file) => !isBuildProduct(pathOf(file)));
  const left = parsed.files.length - own.length + parsed.binaries.length;
  const changes = [...done, ...parsed.repairs].map((what) => `${name}: ${what}`);
  if (left > 0) changes.push(`${name}: left out ${counted(left, 'generated or binary file')}`);
  const problems = faultsIn(name, own, parsed.faults);
  if (problems.length > 0) return { files: [], changes, problems };
  const added = own.filter((file) => kindOf(file) === 'added');
  const lines = own.filter((file) => kindOf(file) === 'makefile' && /^[ \t]*obj-/m.test(addedText(file)));
  const files = [...added, ...lines].map((file) => ({
    name: pathOf(file),
    text: addedText(file),
    changes: [],
  }));
  changes.push(
    `${name}: ${counted(added.length, 'added file')} taken as sources of modules that are built by themselves`,
  );
  if (lines.length > 0)
    changes.push(`${name}: of ${lines.map(pathOf).join(', ')} the added lines were taken as a makefile`);
  const passed = own.filter((file) => !added.includes(file) && !lines.includes(file));
  if (passed.length > 0) changes.push(`${name}: passed over ${passed.map(pathOf).join(', ')}`);
  return { files, changes, problems };
}

type Kind = 'added' | 'makefile' | 'companion' | 'foreign';

/** Files of the tree that are changed for a new driver: they decide nothing when it is built as a module. */
const COMPANION = /^(Kconfig.*|MAINTAINERS|\.gitignore|\w+_defconfig|.*\.(rst|txt|md))$/;

function kindOf(file: FileDiff): Kind {
  const { oldName, newName, hunks } = file;
  const base = posix.basename(pathOf(file));
  if (newName === undefined) return 'foreign';
  if (oldName === undefined || (hunks.length === 1 && hunks[0]?.oldCount === 0)) return 'added';
  if (/^(Makefile|Kbuild)$/.test(base)) return 'makefile';
  return COMPANION.test(base) ? 'companion' : 'foreign';
}

function pathOf({ newName, oldName }: FileDiff): string {
  const parts = readable(newName ?? oldName ?? '')
    .replaceAll('\\', '/')
    .split('/')
    .filter((part) => part !== '' && part !== '.');
  const from = parts.lastIndexOf('..') + 1;
  return parts.slice(/^[ab]$/.test(parts[from] ?? '') ? from + 1 : from).join('/');
}

function addedText({ hunks }: FileDiff): string {
  const lines = hunks.flatMap((hunk) => hunk.lines);
  const text = lines.flatMap((line) => (line.startsWith('+') ? [line.slice(1)] : [])).join('\n');
  return lines.at(-1)?.startsWith('\\') ? text : `${text}\n`;
}

const MOST_FILES = 1000;

function faultsIn(name: string, files: readonly FileDiff[], faults: readonly string[]): IntakeProblem[] {
  if (files.length > MOST_FILES) {
    return [
      problem(
        `${name} changes ${counted(files.length, 'file')}: it was made between two versions of the source, or is none of yours`,
        'make the patch again between the vanilla tree of the version that you began with and your own',
      ),
    ];
  }
  const special = files.filter((file) => file.special !== undefined && file.special !== 'mode');
  const foreign = files.filter((file) => file.hunks.length > 0 && kindOf(file) === 'foreign');
  return [
    ...(faults.length === 0 ? [] : [damaged(name, faults)]),
    ...(special.length === 0 ? [] : [unusual(name, special)]),
    ...(foreign.length === 0 ? [] : [touches(name, foreign)]),
  ];
}

function damaged(name: string, faults: readonly string[]): IntakeProblem {
  return problem(
    `${name} is damaged: the numbers in its headers do not fit its lines, as after editing a patch by hand`,
    'make the patch again with `git diff` or `diff -urN`, and do not edit it',
    { evidence: faults.slice(0, 10) },
  );
}

function unusual(name: string, files: readonly FileDiff[]): IntakeProblem {
  return problem(
    `${name} was not used: it renames files, makes links or holds binary data`,
    'hand in a patch of text files only, made with `git diff --no-renames` or `diff -urN`',
    { evidence: files.map(pathOf).slice(0, 10) },
  );
}

function touches(name: string, files: readonly FileDiff[]): IntakeProblem {
  return problem(
    `${name} was not used: it changes or removes ${counted(files.length, 'file')} that the exercise does not ask for`,
    'a module needs no change of the kernel: hand in a patch that only adds its sources, or the sources themselves',
    { evidence: files.map(pathOf).slice(0, 10) },
  );
}
