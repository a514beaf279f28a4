import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError } from '../errors.js';
import { runStep, type Step, type StepContext } from '../events.js';
import { type IntakeRules, isAllowed } from '../intake/rules.js';
import type { Project } from '../intake/submission.js';
import { projects } from '../intake/trees.js';
import type { Lab } from '../lab/lab.js';
import { titleOf } from '../sources/source.js';
import type { Timeouts } from '../timeouts.js';
import type { Difference } from './compare.js';
import { differencesIn } from './differences.js';
import { type Pristine, pristineOf } from './pristine.js';
import type { WorkFolder } from './record.js';
import type { Remark, SortedOut } from './sort-out.js';
import { verifyPatch } from './verify-patch.js';
import { whitespaceErrors } from './whitespace.js';
import { BEGINNING, writePatchOf } from './write-patch.js';

/** A patch of one source tree, as the exercise wants it handed in. */
export interface MadePatch {
  readonly project: Project;
  /** As the exercise calls it: `qemu-8.2.0-rc2.patch`. */
  readonly name: string;
  /** One character per byte; it applies exactly to the vanilla tree and gives the work tree. */
  readonly text: string;
  readonly source: Pristine;
  readonly files: readonly { readonly path: string; readonly kind: Difference['kind'] }[];
  readonly leftOut: readonly Remark[];
  readonly warnings: readonly Remark[];
}

export interface PatchesRequest {
  readonly lab: Lab;
  readonly work: WorkFolder;
  /** What a hand-in of this lab is expected to touch. */
  readonly rules: IntakeRules;
  /** Leave out what a patch cannot carry, instead of refusing. */
  readonly force: boolean;
}

/** The steps of `makePatches`. */
export const patchSteps = { qemuPatch: 'Patch of QEMU', linuxPatch: 'Patch of Linux' } as const;

/**
 * The patches of the trees in a work folder against the vanilla sources that it was made from; none for a tree that
 * was not changed. Nothing in the folder is written.
 *
 * @throws LabError `work/refused` listing what cannot be handed in, `work/nothing`, `work/no-pristine`,
 *   `work/foreign`, `work/patch-fails`; `interrupted`; what finding the source throws.
 */
export async function makePatches(
  request: PatchesRequest,
  context: StepContext,
  timeouts: Timeouts,
): Promise<MadePatch[]> {
  const made: MadePatch[] = [];
  for (const project of projects) {
    if (request.work.record.trees[project] === undefined) continue;
    const id = `${project}Patch` as const;
    const patch = await runStep(context, id, patchSteps[id], async (step) => {
      const source = await pristineOf(request.work, project, { step, timeouts });
      const value = await makePatch({ ...request, project, source }, { step, timeouts });
      return { value, detail: value.text === '' ? 'nothing was changed' : value.name };
    });
    if (patch.text !== '') made.push(patch);
  }
  if (made.length === 0) throw nothing(request.work);
  return made;
}

interface OneRequest extends PatchesRequest {
  readonly project: Project;
  readonly source: Pristine;
}

async function makePatch(
  request: OneRequest,
  context: { step: Step; timeouts: Timeouts },
): Promise<MadePatch> {
  const { project, source, work, lab, force } = request;
  const { step, timeouts } = context;
  const trees = { pristine: source.tree, work: join(work.folder, project) };
  const sorted = await differencesIn(request, context);
  if (sorted.refused.length > 0 && !force) throw refused(project, sorted);
  const { contributed, leftOut, refused: left, warnings } = sorted;
  const options = { ...trees, signal: step.signal, timeout: timeouts.hostTool };
  const text = await writePatchOf(contributed, options);
  await verifyPatch(text, contributed, options);
  return {
    ...{ project, text, source },
    name: patchName(lab, project),
    files: contributed.map(({ path, kind }) => ({ path, kind })),
    leftOut: [...leftOut, ...left],
    warnings: [...warnings, ...whitespaceErrors(text), ...strangers(contributed, request)],
  };
}

/** The version is always the one that the exercise names: graders go by the file's name. */
function patchName(lab: Lab, project: Project): string {
  return `${project}-${lab.versions[project]}.patch`;
}

/** No fault: a driver may go anywhere, but a forgotten experiment may as well. */
function strangers(contributed: readonly Difference[], { rules, project }: OneRequest): Remark[] {
  return contributed
    .filter(({ path }) => !isAllowed(rules.projects[project], path))
    .map(({ path }) => ({ path, why: 'not where the work for this exercise usually is: is it meant?' }));
}

/**
 * Writes the patches into `folder`, which is made, and removes those of an earlier call that are no longer made.
 *
 * @returns their paths.
 * @throws LabError `work/exists` for a file of that name that was not made here, unless `force`.
 */
export async function writePatches(
  folder: string,
  patches: readonly MadePatch[],
  { lab, force }: { readonly lab: Lab; readonly force: boolean },
): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  for (const project of projects) {
    const path = join(folder, patchName(lab, project));
    const before = await readFile(path, 'latin1').catch(() => undefined);
    if (before === undefined) continue;
    if (!before.startsWith(BEGINNING) && !force) throw existing(path);
    await rm(path);
  }
  const paths = patches.map(({ name }) => join(folder, name));
  for (const [i, { text }] of patches.entries()) await writeFile(paths[i] ?? '', text, 'latin1');
  return paths;
}

function existing(path: string): LabError {
  return new LabError({
    code: 'work/exists',
    blame: 'user',
    fact: `${path} is there already, and \`lab patch\` did not make it`,
    next: 'name another folder with --into DIR, or overwrite it with --force',
  });
}

function refused(project: Project, { refused: remarks }: SortedOut): LabError {
  return new LabError({
    code: 'work/refused',
    blame: 'submission',
    fact: `${titleOf(project)}'s tree holds ${remarks.length} things that cannot be handed in as a patch`,
    evidence: remarks.slice(0, 20).map(({ path, why }) => `${project}/${path}: ${why}`),
    next: 'remove them; or leave them out of the patch with --force',
  });
}

function nothing({ folder }: WorkFolder): LabError {
  return new LabError({
    code: 'work/nothing',
    blame: 'submission',
    fact: `no source file in ${folder} differs from the vanilla trees`,
    next: 'do the exercise there first',
  });
}
