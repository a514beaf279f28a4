import { counted, isBuildProduct } from './names.js';
import type { FileDiff, Section, Special } from './patch.js';
import { parsePatch } from './patch-parse.js';
import { type Place, placesOf } from './place.js';
import { problem } from './problems.js';
import { type IntakeRules, isAllowed } from './rules.js';
import type { IntakeProblem, Project } from './submission.js';
import { readable } from './text.js';
import { hasFile, projects, type Trees } from './trees.js';

/** A patch as it was handed in, split by tree and with the names that the trees have. */
export interface NormalPatch {
  /** Name within the hand-in. */
  readonly name: string;
  readonly sections: Readonly<Record<Project, readonly Section[]>>;
  /** Place in a series of mails, when its subject says so. */
  readonly mail?: { readonly number: number; readonly of: number };
  readonly versions: Readonly<Partial<Record<Project, string>>>;
  /** Why no tool applies it as it is: hunks whose numbers do not fit their lines, names that leave the tree. */
  readonly damage: readonly string[];
  readonly changes: readonly string[];
  readonly problems: readonly IntakeProblem[];
}

/** What a hand-in is read against. */
export interface Against {
  readonly trees: Trees;
  readonly rules: IntakeRules;
}

/**
 * Reads one text with patches, for either tree or both.
 *
 * @param text as `plainText` gives it.
 */
export function normalisePatch(name: string, text: string, against: Against): NormalPatch {
  const parsed = parsePatch(text);
  const changes = parsed.repairs.map((what) => `${name}: ${what}`);
  const problems: IntakeProblem[] = [];
  const series = parsed.mails.filter(({ files }) => files.length > 0);
  const ordered = inOrder(series)
    ? [...series].sort((a, b) => a.number - b.number).flatMap(({ files }) => files)
    : parsed.files;
  if (series.length > 1)
    changes.push(`${name} holds ${series.length} mails; they were taken as one series, in order`);
  const products = ordered.filter((file) => isBuildProduct(nameOf(file)));
  const left = products.length + parsed.binaries.length;
  if (left > 0) changes.push(`${name}: left out ${counted(left, 'generated or binary file')}`);
  const known = new Set(products);
  const own = ordered.filter((file) => !known.has(file));
  if (own.length > MOST_FILES) problems.push(tooManyFiles(name, own.length));
  const plain = own.length > MOST_FILES ? [] : own;
  const usable = plain.filter((file) => file.special === undefined);
  problems.push(...specialProblems(name, plain));
  if (usable.some(({ mode }) => mode)) changes.push(`${name}: left out changes of file modes`);
  const placed = placeAll(usable, against);
  problems.push(...unknownProblems(name, placed), ...faultProblems(name, parsed.faults, placed));
  const sections = {
    qemu: sectionsFor('qemu', name, placed, against, problems),
    linux: sectionsFor('linux', name, placed, against, problems),
  };
  const [mail] = series.length === 1 ? series : [];
  return {
    name,
    sections,
    ...(mail === undefined ? {} : { mail: { number: mail.number, of: mail.of } }),
    versions: versionsIn(name, ordered),
    damage: [...parsed.faults, ...escapes(placed)],
    changes,
    problems,
  };
}

/** A patch between two versions of a source tree, and then some. */
const MOST_FILES = 20_000;

function tooManyFiles(name: string, count: number): IntakeProblem {
  return problem(
    `${name} changes ${counted(count, 'file')}: it was made between two versions of the source, or is none of yours`,
    'make the patch again between the vanilla tree of the version that you began with and your own',
  );
}

function inOrder(mails: readonly { readonly number: number; readonly of: number }[]): boolean {
  const totals = new Set(mails.map(({ of }) => of));
  const numbers = new Set(mails.map(({ number }) => number));
  return mails.length > 1 && totals.size === 1 && numbers.size === mails.length;
}

function nameOf({ newName, oldName }: FileDiff): string {
  return readable(newName ?? oldName ?? '?')
    .replace(/^[ab]\//, '')
    .slice(0, 200);
}

const SPECIALS: Readonly<Record<Special, string>> = {
  rename: 'renames or copies',
  link: 'makes a symbolic link of',
  submodule: 'adds a git submodule at',
  binary: 'holds binary data for',
  mode: 'changes the mode of',
};

function specialProblems(name: string, files: readonly FileDiff[]): IntakeProblem[] {
  return files.flatMap((file) => {
    if (file.special === undefined) return [];
    return [
      problem(
        `${name} ${SPECIALS[file.special]} ${nameOf(file)}; that part was left out`,
        'hand in a patch of text files only, made with `git diff --no-renames` or `diff -urN`',
      ),
    ];
  });
}

interface Placed {
  readonly file: FileDiff;
  readonly place: Place | undefined;
}

/** How much better a place must be than that in the other tree to be certain. */
const CERTAIN = 2;

/** Files that both trees have, such as MAINTAINERS, go where their neighbours go. */
function placeAll(files: readonly FileDiff[], { trees, rules }: Against): Placed[] {
  const options = files.map((file) => placesOf(file, trees, rules));
  const certain = options.flatMap(([first, second]) =>
    first !== undefined && first.score - (second?.score ?? 0) >= CERTAIN ? [first] : [],
  );
  return files.map((file, i) => {
    const [first, second] = options[i] ?? [];
    if (first === undefined || second === undefined || certain.includes(first)) return { file, place: first };
    const votes = (place: Place) =>
      certain.reduce(
        (sum, { project, root }) => sum + (project === place.project ? (root === place.root ? 10 : 1) : 0),
        0,
      );
    return { file, place: votes(second) > votes(first) ? second : first };
  });
}

function unknownProblems(name: string, placed: readonly Placed[]): IntakeProblem[] {
  const unknown = placed.filter(({ place }) => place === undefined).map(({ file }) => nameOf(file));
  if (unknown.length === 0) return [];
  return [
    problem(
      `${name} names ${counted(unknown.length, 'file')} that belong neither to QEMU's nor to Linux's source tree`,
      'make the patch at the top of the source tree, so that names begin like hw/misc/ or drivers/misc/',
      { evidence: unknown.slice(0, 10) },
    ),
  ];
}

/** Names that lead out of the tree, which every tool refuses. */
function escapes(placed: readonly Placed[]): string[] {
  const names = placed.filter(({ place }) => place === undefined).map(({ file }) => nameOf(file));
  return names
    .filter((name) => name.split('/').includes('..'))
    .map((name) => `${name} lies outside of the source tree`);
}

function faultProblems(name: string, faults: readonly string[], placed: readonly Placed[]): IntakeProblem[] {
  if (faults.length === 0) return [];
  const project = placed.find(({ place }) => place !== undefined)?.place?.project;
  return [
    problem(
      `${name} is damaged: the numbers in its headers do not fit its lines, as after editing a patch by hand`,
      'make the patch again with `git diff` or `diff -urN`, and do not edit it',
      { evidence: faults.slice(0, 10), ...(project === undefined ? {} : { project }) },
    ),
  ];
}

const PLAIN_PATH = /^[\w@%+=:,./-]+$/;

function sectionsFor(
  project: Project,
  name: string,
  placed: readonly Placed[],
  against: Against,
  problems: IntakeProblem[],
): Section[] {
  const own = placed.flatMap(({ file, place }) =>
    place?.project === project && file.hunks.length > 0 ? [{ file, path: place.path }] : [],
  );
  const rules = against.rules.projects[project];
  const isWelcome = ({ path }: { path: string }) => isAllowed(rules, path) && PLAIN_PATH.test(path);
  const [allowed, dropped] = [own.filter(isWelcome), own.filter((entry) => !isWelcome(entry))];
  if (dropped.length === 0) return toSections(allowed, project, name, against);
  const holdsSource = ({ file, path }: (typeof own)[number]) =>
    path.endsWith('.c') && rules.source.marks.some((mark) => mark.test(addedText(file)));
  const lost = dropped.some(holdsSource) && !allowed.some(holdsSource);
  const evidence = dropped.map(({ path }) => readable(path)).slice(0, 10);
  problems.push(
    lost || allowed.length === 0
      ? problem(
          `${name} was not used for ${rules.title}: what it changes lies outside of the folders of the exercise`,
          `put the source at ${rules.source.path} and make the patch again`,
          { evidence, project },
        )
      : problem(
          `${name} changes ${counted(dropped.length, 'file')} of ${rules.title} outside of the folders of the exercise; these were left out`,
          'restore these files and make the patch again',
          { evidence, project },
        ),
  );
  return lost ? [] : toSections(allowed, project, name, against);
}

function toSections(
  files: readonly { readonly file: FileDiff; readonly path: string }[],
  project: Project,
  origin: string,
  { trees }: Against,
): Section[] {
  const made = new Set<string>();
  return files.map(({ file, path }) => {
    const known = made.has(path) || hasFile(trees[project], path);
    made.add(path);
    return { path, kind: kindOf(file, known), hunks: file.hunks, origin };
  });
}

function kindOf({ oldName, newName, hunks }: FileDiff, known: boolean): Section['kind'] {
  if (oldName === undefined) return 'added';
  if (newName === undefined) return 'deleted';
  return !known && hunks.length === 1 && hunks[0]?.oldCount === 0 ? 'added' : 'changed';
}

function addedText({ hunks }: FileDiff): string {
  const lines = hunks.flatMap((hunk) => hunk.lines.filter((line) => line.startsWith('+')));
  return lines.map((line) => line.slice(1)).join('\n');
}

const VERSION = '[-_]v?(\\d+\\.\\d+(?:\\.\\d+)?(?:-rc\\d+)?)';

/** Versions that names mention: that of the older side counts, which is the tree that was changed. */
function versionsIn(name: string, files: readonly FileDiff[]): Partial<Record<Project, string>> {
  const names = [...files.flatMap(({ oldName, newName }) => [oldName ?? '', newName ?? '']), name];
  const versions: Partial<Record<Project, string>> = {};
  for (const project of projects) {
    const pattern = new RegExp(`${project}${VERSION}(?![\\w.]*\\.(?:c|h)\\b)`, 'i');
    const found = names.map((text) => pattern.exec(text)?.[1]).find((version) => version !== undefined);
    if (found !== undefined) versions[project] = found;
  }
  return versions;
}
