import type { FileDiff } from './patch.js';
import { type IntakeRules, isAllowed, type ProjectRules } from './rules.js';
import type { Project } from './submission.js';
import { hasFile, hasFolder, projects, type Trees, textIn } from './trees.js';

/** Where in which tree a file of a patch belongs. */
export interface Place {
  readonly project: Project;
  readonly path: string;
  /** What stands before the path in the name: the root of the student's tree. */
  readonly root: string;
  readonly score: number;
}

/** In whose names `..` and absolute roots are common: only what follows them counts. */
const LONGEST_NAME = 60;

/** How much each sign counts: the text of the file itself more than all names. */
const SCORE = {
  context: 10,
  allowed: 8,
  file: 4,
  homeFile: 3,
  marks: 3,
  parent: 2,
  named: 2,
  top: 1,
  home: 0.5,
} as const;

/**
 * The best place in each tree for a file that a patch names, best first. Names are of any depth, absolute or relative
 * to any folder; the file's path is the end of the name that the pristine tree knows.
 */
export function placesOf(diff: FileDiff, trees: Trees, rules: IntakeRules): Place[] {
  const names = [...new Set([diff.newName, diff.oldName].filter((name) => name !== undefined))].map(partsOf);
  const inEach = (places: (project: Project, name: Name) => Place[]) =>
    names.flatMap((name) => projects.flatMap((project) => places(project, name)));
  const known = inEach((project, name) => knownPlaces(project, name, trees));
  const rooted = known.some(({ path, score }) => path.includes('/') && score >= SCORE.parent);
  const atHome = (project: Project, name: Name) =>
    homePlaces(project, name, isSource(diff, rules.projects[project]), {
      trees,
      rules: rules.projects[project],
    });
  const scored = [...known, ...(rooted ? [] : inEach(atHome))].map((place) => ({
    ...place,
    score: place.score + signs(diff, place, trees, rules.projects[place.project]),
  }));
  const best = projects.flatMap((project) => {
    const own = scored.filter((place) => place.project === project);
    return own.length === 0 ? [] : [own.reduce((a, b) => (b.score > a.score ? b : a))];
  });
  return best.sort((a, b) => b.score - a.score);
}

interface Name {
  /** What stands before the last `..`. */
  readonly before: readonly string[];
  readonly parts: readonly string[];
}

function partsOf(name: string): Name {
  const parts = name
    .replaceAll('\\', '/')
    .split('/')
    .filter((part) => part !== '' && part !== '.');
  const start = Math.max(parts.lastIndexOf('..') + 1, parts.length - LONGEST_NAME);
  return { before: parts.slice(0, start), parts: parts.slice(start) };
}

/** Ends of the name that the tree knows as a file, or as a file in one of its folders. */
function knownPlaces(project: Project, { before, parts }: Name, trees: Trees): Place[] {
  return parts.flatMap((_, i) => {
    const own = parts.slice(i);
    const score = knownness(project, own, trees);
    const root = [...before, ...parts.slice(0, i)].join('/');
    return score > 0 ? [{ project, path: own.join('/'), root, score }] : [];
  });
}

/** Names relative to a folder in which the exercise takes place, and sources from anywhere. */
function homePlaces(
  project: Project,
  { before, parts }: Name,
  isSource: boolean,
  { trees, rules }: { readonly trees: Trees; readonly rules: ProjectRules },
): Place[] {
  return parts.flatMap((_, i) => {
    const folder = parts.slice(i, -1).join('/');
    const bare = folder === '' && (isSource || parts.length <= 2);
    const root = [...before, ...parts.slice(0, i)].join('/');
    return rules.homes
      .filter((home) => bare || (folder !== '' && `/${home}`.endsWith(`/${folder}`)))
      .map((home) => `${home}/${parts.at(-1)}`)
      .map((path) => ({
        project,
        path,
        root,
        score: hasFile(trees[project], path) ? SCORE.homeFile : SCORE.home,
      }));
  });
}

function isSource({ newName, hunks }: FileDiff, rules: ProjectRules): boolean {
  const added = hunks.flatMap(({ lines }) => lines).join('\n');
  return (newName?.endsWith('.c') ?? false) && rules.source.marks.some((mark) => mark.test(added));
}

function knownness(project: Project, parts: readonly string[], trees: Trees): number {
  const tree = trees[project];
  if (hasFile(tree, parts.join('/'))) return SCORE.file;
  if (parts.length === 1) return 0;
  if (hasFolder(tree, parts.slice(0, -1).join('/'))) return SCORE.parent;
  return hasFolder(tree, parts[0] ?? '') && !COMMON_FOLDERS.has(parts[0] ?? '') ? SCORE.top : 0;
}

/** Folders of the trees that stand in anybody's paths as well. */
const COMMON_FOLDERS = new Set([
  'tools',
  'lib',
  'include',
  'docs',
  'scripts',
  'tests',
  'net',
  'block',
  'usr',
  'samples',
]);

function signs(diff: FileDiff, place: Place, trees: Trees, rules: ProjectRules): number {
  const { project, path, root } = place;
  const old = diff.hunks.flatMap(({ lines }) => lines.filter((line) => /^[ -].*\S/.test(line)));
  const text = old.length === 0 ? undefined : textIn(trees[project], path);
  return (
    (text === undefined ? 0 : SCORE.context * shareOf(old, text)) +
    (isAllowed(rules, path) ? SCORE.allowed : 0) +
    (isSource(diff, rules) ? SCORE.marks : 0) +
    (root.toLowerCase().includes(project) ? SCORE.named : 0)
  );
}

/** The share of context and removed lines that the file has. */
function shareOf(old: readonly string[], text: string): number {
  const lines = new Set(text.split('\n').map((line) => line.trim()));
  return old.filter((line) => lines.has(line.slice(1).trim())).length / old.length;
}
