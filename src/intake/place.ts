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
} as const;

/**
 * The best place in each tree for a file that a patch names, best first. Names are of any depth, absolute or relative
 * to any folder; the file's path is the end of the name that the pristine tree knows.
 */
export function placesOf(diff: FileDiff, trees: Trees, rules: IntakeRules): Place[] {
  const names = new Set([diff.newName, diff.oldName].filter((name) => name !== undefined));
  const all = [...names].flatMap((name) =>
    projects.flatMap((project) => placesIn(project, name, trees, rules.projects[project])),
  );
  const scored = all.map((place) => ({
    ...place,
    score: place.score + signs(diff, place, trees, rules.projects[place.project]),
  }));
  const best = projects.flatMap((project) => {
    const own = scored.filter((place) => place.project === project);
    return own.length === 0 ? [] : [own.reduce((a, b) => (b.score > a.score ? b : a))];
  });
  return best.sort((a, b) => b.score - a.score);
}

function placesIn(project: Project, name: string, trees: Trees, rules: ProjectRules): Place[] {
  const parts = name
    .replaceAll('\\', '/')
    .split('/')
    .filter((part) => part !== '' && part !== '.');
  const own = parts.slice(parts.lastIndexOf('..') + 1).slice(-LONGEST_NAME);
  const skipped = parts.length - own.length;
  const places: Place[] = [];
  for (let i = 0; i < own.length; i += 1) {
    const path = own.slice(i).join('/');
    const root = parts.slice(0, skipped + i).join('/');
    const score = knownness(project, own.slice(i), trees);
    if (score > 0) places.push({ project, path, root, score });
    for (const home of rules.homes) {
      const folder = own.slice(i, -1).join('/');
      if (folder !== '' && !`/${home}`.endsWith(`/${folder}`)) continue;
      const at = `${home}/${own.at(-1)}`;
      if (at !== path) places.push({ project, path: at, root, score: homeScore(project, at, i, own, trees) });
    }
  }
  return places;
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

/** A bare file name counts as one in its home; a name with folders only when it ends in the home's. */
function homeScore(project: Project, path: string, i: number, own: readonly string[], trees: Trees): number {
  if (i === own.length - 1 && own.length > 2) return 0;
  return hasFile(trees[project], path) ? SCORE.homeFile : SCORE.top / 2;
}

function signs(diff: FileDiff, place: Place, trees: Trees, rules: ProjectRules): number {
  const { project, path, root } = place;
  const old = diff.hunks.flatMap(({ lines }) => lines.filter((line) => /^[ -].*\S/.test(line)));
  const text = old.length === 0 ? undefined : textIn(trees[project], path);
  const added = diff.hunks.flatMap(({ lines }) => lines).join('\n');
  const marked = path.endsWith('.c') && rules.source.marks.some((mark) => mark.test(added));
  return (
    (text === undefined ? 0 : SCORE.context * shareOf(old, text)) +
    (isAllowed(rules, path) ? SCORE.allowed : 0) +
    (marked ? SCORE.marks : 0) +
    (root.toLowerCase().includes(project) ? SCORE.named : 0)
  );
}

/** The share of context and removed lines that the file has. */
function shareOf(old: readonly string[], text: string): number {
  const lines = new Set(text.split('\n').map((line) => line.trim()));
  return old.filter((line) => lines.has(line.slice(1).trim())).length / old.length;
}
