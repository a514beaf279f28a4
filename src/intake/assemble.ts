import { mkdir, writeFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import type { Timeouts } from '../timeouts.js';
import { chooseOne, joinSeries } from './choose.js';
import { looseSections } from './loose.js';
import { type Against, type NormalPatch, normalisePatch } from './normalise.js';
import { takeApplication, takeModule } from './own-files.js';
import { filesOf, type Section, writePatch } from './patch.js';
import { problem } from './problems.js';
import type { Recognised, Sorted } from './recognise.js';
import type { IntakeProblem, Part, Project, Submission } from './submission.js';
import { projects } from './trees.js';

/** What the files of a hand-in come to. */
export interface Assembled
  extends Pick<Submission, 'parts' | 'module' | 'application' | 'changes' | 'problems'> {}

export interface AssembleOptions {
  /** Folder that keeps what is made, and one for files that live for a moment. */
  readonly into: string;
  readonly scratch: string;
  readonly signal: AbortSignal;
  readonly timeouts: Timeouts;
}

/** Patches before loose sources, and loose sources for a tree only where there is no patch for it. */
export async function assemble(
  sorted: Sorted,
  against: Against,
  options: AssembleOptions,
): Promise<Assembled> {
  const changes: string[] = [];
  const problems: IntakeProblem[] = [];
  const usable = sorted.patches.filter(({ text }) => hunksIn(text) <= MOST_HUNKS);
  for (const { name, text } of sorted.patches)
    if (hunksIn(text) > MOST_HUNKS) problems.push(tooLong(name, text));
  const patches = usable.map(({ name, text, changes: done }) => {
    const patch = normalisePatch(name, text, against);
    return { ...patch, changes: [...done.map((what) => `${name}: ${what}`), ...patch.changes] };
  });
  const chosen = {
    qemu: choosePatch('qemu', patches, against, changes),
    linux: choosePatch('linux', patches, against, changes),
  };
  const used = new Set([...chosen.qemu, ...chosen.linux].flatMap((patch) => patch.name.split(', ')));
  for (const patch of patches) {
    const unusable = projects.every((project) => patch.sections[project].length === 0);
    if (!used.has(patch.name) && !unusable) continue;
    changes.push(...patch.changes);
    problems.push(...patch.problems);
    if (used.has(patch.name)) changes.push(...wrongNames(patch, against));
  }
  const parts: { qemu?: Part; linux?: Part } = {};
  for (const project of projects) {
    const patch = await patchPart(project, chosen[project], against, options);
    const part = patch ?? (await loosePart(project, sorted, against, options, changes));
    if (part !== undefined) parts[project] = part;
    if (patch !== undefined)
      changes.push(...leftAside(project, patch, sorted), ...otherAsked(patch, against));
  }
  const own = await ownFiles(parts.linux, sorted, against, options, changes);
  return { parts, ...own, changes: [...new Set(changes)], problems };
}

/** The exercise needs ten or twenty; a difference between two releases has tens of thousands. */
const MOST_HUNKS = 5000;

function hunksIn(text: string): number {
  let count = 0;
  for (let at = text.indexOf('@@ -'); at !== -1; at = text.indexOf('@@ -', at + 4)) count += 1;
  return count;
}

function tooLong(name: string, text: string): IntakeProblem {
  return problem(
    `${name} has ${hunksIn(text)} hunks; a patch for this exercise has a few dozen at most, so it was not read`,
    'make the patch between a vanilla tree and yours of the very same version, without what a build leaves behind',
  );
}

function choosePatch(
  project: Project,
  patches: readonly NormalPatch[],
  { rules }: Against,
  changes: string[],
): readonly NormalPatch[] {
  const { title, source, buildFiles } = rules.projects[project];
  const joined = joinSeries(patches, project);
  const byContent = new Map(joined.map((patch) => [writePatch(patch.sections[project]), patch]));
  const candidates = [...byContent.values()].map((patch) => ({
    ...patch,
    paths: patch.sections[project].map(({ path }) => path),
  }));
  const wanted = { title, source: source.path, buildFiles: buildFiles.map(({ path }) => path) };
  const { chosen, why } = chooseOne(candidates, wanted);
  if (why !== undefined) changes.push(why);
  changes.push(...chosen.filter(({ name }) => name.includes(', ')).flatMap((patch) => patch.changes));
  return chosen;
}

/** Says it when a patch's name claims the other tree. */
function wrongNames(patch: NormalPatch, { rules }: Against): string[] {
  const base = posix.basename(patch.name).toLowerCase();
  return projects.flatMap((project) => {
    const other = project === 'qemu' ? 'linux' : 'qemu';
    const claims = base.includes(other) && !base.includes(project);
    if (!claims || patch.sections[project].length === 0 || patch.sections[other].length > 0) return [];
    const [is, named] = [rules.projects[project].title, rules.projects[other].title];
    return [`${patch.name} is a patch for ${is}, although its name says ${named}; it was taken for ${is}`];
  });
}

/** Loose copies of what a patch brings. Drivers are not among them: a module may come besides the patch. */
function leftAside(project: Project, { origin }: Part, sorted: Sorted): string[] {
  const sources = project === 'qemu' ? sorted.sources.qemu : [];
  const whole = sorted.wholeFiles.filter((entry) => entry.project === project).map(({ file }) => file);
  return [...sources, ...whole].map(({ name }) => `${name} was left aside: the patch ${origin} counts`);
}

function otherAsked({ project, origin, askedVersion }: Part, { trees, rules }: Against): string[] {
  const { wanted } = trees[project];
  if (askedVersion === undefined || releaseOf(askedVersion) === releaseOf(wanted)) return [];
  const { title } = rules.projects[project];
  return [
    `${origin} was made for ${title} ${askedVersion}, by its names; the exercise is about ${title} ${wanted}`,
  ];
}

async function patchPart(
  project: Project,
  patches: readonly NormalPatch[],
  { trees }: Against,
  { into }: AssembleOptions,
): Promise<Part | undefined> {
  const [first] = patches;
  if (first === undefined) return undefined;
  const sections = patches.flatMap((patch) => patch.sections[project]);
  const places = sections.flatMap(({ hunks, origin = first.name }) =>
    hunks.map(({ line }) => ({ origin, line })),
  );
  const asked = patches.map(({ versions }) => versions[project]).find((version) => version !== undefined);
  const damage = patches.flatMap((patch) => patch.damage);
  return {
    project,
    patch: await writeSections(project, sections, into),
    wasPatch: true,
    origin: patches.map(({ name }) => name).join(', '),
    otherRelease: releaseOf(trees[project].wanted) !== releaseOf(trees[project].version),
    files: filesOf(sections),
    places,
    ...(damage.length === 0 ? {} : { damage }),
    ...(asked === undefined ? {} : { askedVersion: asked }),
  };
}

/** `8.2` of `v8.2.0-rc2`. */
function releaseOf(version: string): string {
  return /\d+\.\d+/.exec(version)?.[0] ?? version;
}

async function writeSections(project: Project, sections: readonly Section[], into: string): Promise<string> {
  const path = join(into, `${project}.patch`);
  await writeFile(path, writePatch(sections), 'latin1');
  return path;
}

async function loosePart(
  project: Project,
  sorted: Sorted,
  against: Against,
  { into, scratch, signal, timeouts }: AssembleOptions,
  changes: string[],
): Promise<Part | undefined> {
  const sources = project === 'linux' ? inTreeDrivers(sorted) : sorted.sources[project];
  const context = { scratch, signal, timeout: timeouts.hostTool };
  const loose = await looseSections(project, sources, sorted, against, context);
  changes.push(...loose.changes);
  if (loose.sections.length === 0) return undefined;
  return {
    project,
    patch: await writeSections(project, loose.sections, into),
    wasPatch: false,
    origin: loose.origin,
    otherRelease: false,
    files: filesOf(loose.sections),
  };
}

/** Drivers that are meant to be built into the kernel: beside what else belongs to its tree. */
function inTreeDrivers({ sources, buildFiles, wholeFiles, moduleMakefiles }: Sorted): readonly Recognised[] {
  const folders = new Set(moduleMakefiles.map(({ name }) => posix.dirname(name)));
  const loose = sources.linux.filter(({ name }) => !folders.has(posix.dirname(name)));
  const hasTree = [...buildFiles, ...wholeFiles].some(({ project }) => project === 'linux');
  return loose.filter(({ name }) => hasTree || /(^|\/)drivers\/(misc|char)\//.test(name));
}

async function ownFiles(
  linux: Part | undefined,
  sorted: Sorted,
  { rules }: Against,
  { into }: AssembleOptions,
  changes: string[],
): Promise<Pick<Assembled, 'module' | 'application'>> {
  const builtIn = linux?.files.some(({ path, kind }) => kind === 'added' && path.endsWith('.c')) ?? false;
  const withMakefile = sorted.moduleMakefiles.length > 0;
  const drivers = sorted.sources.linux;
  const none = { value: undefined, changes: [] as readonly string[] };
  const moduleDir = join(into, 'module');
  const programDir = join(into, 'application');
  await Promise.all([mkdir(moduleDir, { recursive: true }), mkdir(programDir, { recursive: true })]);
  const module = builtIn && !withMakefile ? none : await takeModule(drivers, sorted, rules, moduleDir);
  const application = await takeApplication(sorted, rules, programDir);
  changes.push(...module.changes, ...application.changes);
  if (module === none && linux?.wasPatch)
    changes.push(...drivers.map(({ name }) => `${name} was left aside: the patch ${linux.origin} counts`));
  return {
    ...(module.value === undefined ? {} : { module: module.value }),
    ...(application.value === undefined ? {} : { application: application.value }),
  };
}
