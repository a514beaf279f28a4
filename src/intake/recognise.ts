import { posix } from 'node:path';
import type { HandedFile } from './collect.js';
import type { Against } from './normalise.js';
import { looksLikePatch } from './patch-parse.js';
import { problem } from './problems.js';
import type { BuildFileRule, WholeFileRule } from './rules.js';
import type { IntakeProblem, Project } from './submission.js';
import { isBinary, plainText, withoutComments } from './text.js';
import { projects, textIn } from './trees.js';

/** A text of the hand-in, with what had to be done to read it. */
export interface Recognised {
  readonly name: string;
  readonly text: string;
  readonly changes: readonly string[];
}

/** The files of a hand-in by what they are. */
export interface Sorted {
  readonly patches: Recognised[];
  readonly sources: Record<Project, Recognised[]>;
  readonly headers: Recognised[];
  /** C that is none of the others: what a module of several files may need. */
  readonly helpers: Recognised[];
  readonly buildFiles: {
    readonly project: Project;
    readonly rule: BuildFileRule;
    readonly file: Recognised;
  }[];
  readonly wholeFiles: {
    readonly project: Project;
    readonly rule: WholeFileRule;
    readonly file: Recognised;
  }[];
  readonly moduleMakefiles: Recognised[];
  readonly applications: Recognised[];
  readonly reports: string[];
  readonly others: string[];
  readonly problems: IntakeProblem[];
}

/** Tells by content, and by name only where content cannot tell. */
export function recognise(files: readonly HandedFile[], against: Against): Sorted {
  const sorted: Sorted = {
    patches: [],
    sources: { qemu: [], linux: [] },
    headers: [],
    helpers: [],
    buildFiles: [],
    wholeFiles: [],
    moduleMakefiles: [],
    applications: [],
    reports: [],
    others: [],
    problems: [],
  };
  const ordered = [...files].sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const file of ordered) sortOne(file, sorted, against);
  for (const file of ordered) sortBuildFile(file, sorted, against);
  return sorted;
}

export const PATCH_NAME = /\.(patch|diff|mbox)(\.txt)?$/i;
export const BUILD_NAME = /^(meson\.build|Kconfig|Makefile|GNUmakefile|makefile|Kbuild)(\.\w+)?$/;

function sortOne({ name, data }: HandedFile, sorted: Sorted, against: Against): void {
  const base = posix.basename(name);
  if (BUILD_NAME.test(base) && data.length > 0 && !isBinary(data)) return;
  if (PATCH_NAME.test(base) && !isDocument(data) && data.length === 0) {
    sorted.problems.push(
      problem(`${name} is empty`, 'make the patch again and look at its size before handing it in'),
    );
  } else if (isDocument(data) || isBinary(data)) sortDocument(name, data, sorted);
  else {
    const file = { name, ...plainText(data) };
    if (isReport(base)) sorted.reports.push(name);
    else if (looksLikePatch(file.text)) sorted.patches.push(file);
    else if (PATCH_NAME.test(base)) sorted.problems.push(noPatch(file));
    else if (/\.c$/i.test(base)) sortSource(file, sorted, against);
    else if (/\.h$/i.test(base)) sorted.headers.push(file);
    else sorted.others.push(name);
  }
}

export function isReport(base: string): boolean {
  return /^(report|bericht|protokoll|documentation|doku).*\.(md|txt|rst|tex|adoc)$/i.test(base);
}

export function isDocument(data: Buffer): boolean {
  return data.toString('latin1', 0, 5) === '%PDF-' || data.toString('latin1', 0, 4) === 'PK\x03\x04';
}

function sortDocument(name: string, data: Buffer, sorted: Sorted): void {
  const what = data.toString('latin1', 0, 5) === '%PDF-' ? 'a PDF document' : 'a binary file';
  if (PATCH_NAME.test(name)) {
    sorted.problems.push(
      problem(
        `${name} is ${what}, not a patch`,
        'hand in the patch itself: the text that `git diff` or `diff -urN` prints',
      ),
    );
  } else if (what === 'a PDF document' || /\.(docx|odt)$/i.test(name)) sorted.reports.push(name);
  else sorted.others.push(name);
}

export function noPatch({ name, text }: Recognised): IntakeProblem {
  const context = /^\*\*\* .*\n--- .*\n\*{15}/m.test(text);
  const normal = /^\d+(,\d+)?[acd]\d+(,\d+)?\n[<>] /m.test(text);
  const headless = /^@@ -\d+(,\d+)? \+\d+(,\d+)? @@/m.test(text);
  const what = context
    ? 'is a context diff, which tells less than a unified one'
    : normal
      ? 'is a diff without context and without file names'
      : headless
        ? 'has hunks but no lines that name their files'
        : 'holds no patch';
  return problem(`${name} ${what}`, 'make it with `git diff` or with `diff -urN vanilla work`', {
    evidence:
      text.trim() === ''
        ? []
        : text
            .trim()
            .split('\n')
            .slice(0, 3)
            .map((line) => line.slice(0, 200)),
  });
}

function sortSource(file: Recognised, sorted: Sorted, { rules }: Against): void {
  const text = withoutComments(file.text);
  for (const project of projects) {
    for (const rule of rules.projects[project].wholeFiles) {
      const named = posix.basename(rule.path) === posix.basename(file.name);
      if (named && rule.marks.every((mark) => mark.test(text)))
        return void sorted.wholeFiles.push({ project, rule, file });
    }
  }
  const counts = projects.map(
    (project) => rules.projects[project].source.marks.filter((m) => m.test(text)).length,
  );
  const [qemu = 0, linux = 0] = counts;
  if (qemu > 0 && qemu >= linux) sorted.sources.qemu.push(file);
  else if (linux > 0) sorted.sources.linux.push(file);
  else if (/\bmain\s*\(/.test(text) && rules.application.marks.some((mark) => mark.test(text)))
    sorted.applications.push(file);
  else sorted.helpers.push(file);
}

function sortBuildFile({ name, data }: HandedFile, sorted: Sorted, against: Against): void {
  const base = posix.basename(name);
  if (!BUILD_NAME.test(base) || data.length === 0 || isBinary(data)) return;
  const file = { name, ...plainText(data) };
  if (looksLikePatch(file.text)) sorted.patches.push(file);
  else if (/^[ \t]*obj-m\b/m.test(file.text)) sorted.moduleMakefiles.push(file);
  else {
    const owner = ownerOf(file, sorted, against);
    if (owner === undefined) sorted.others.push(name);
    else sorted.buildFiles.push({ ...owner, file });
  }
}

/** Whose Kconfig it is: by its folder, by what else it holds, and by what lies beside it. */
function ownerOf(
  file: Recognised,
  { sources }: Sorted,
  { trees, rules }: Against,
): { readonly project: Project; readonly rule: BuildFileRule } | undefined {
  const base = posix.basename(file.name).replace(/(?<=^(Kconfig|Makefile|meson\.build))\..*$/, '');
  const beside = (project: Project) =>
    sources[project].some((source) => posix.dirname(source.name) === posix.dirname(file.name));
  const options = projects.flatMap((project) =>
    rules.projects[project].buildFiles
      .filter((rule) => posix.basename(rule.path) === base && rule.concerns.test(file.text))
      .map((rule) => ({
        project,
        rule,
        score:
          (`/${file.name}`.endsWith(`/${rule.path}`) ? 8 : 0) +
          10 * sharedLines(file.text, textIn(trees[project], rule.path) ?? '') +
          (beside(project) ? 3 : 0) +
          (`/${file.name}`.toLowerCase().includes(project) ? 2 : 0) +
          ((project === 'linux') === /^[ \t]*(tristate|obj-)/m.test(file.text) ? 1 : 0),
      })),
  );
  return options.sort((a, b) => b.score - a.score)[0];
}

function sharedLines(text: string, pristine: string): number {
  const known = new Set(pristine.split('\n').filter((line) => line.trim().length > 8));
  const lines = text.split('\n').filter((line) => line.trim().length > 8);
  return lines.length === 0 ? 0 : lines.filter((line) => known.has(line)).length / lines.length;
}
