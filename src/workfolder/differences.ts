import { join } from 'node:path';
import { LabError } from '../errors.js';
import type { Step } from '../events.js';
import type { Project } from '../intake/submission.js';
import type { Lab } from '../lab/lab.js';
import { titleOf } from '../sources/source.js';
import type { Timeouts } from '../timeouts.js';
import { compareTrees } from './compare.js';
import { ignoredIn } from './ignored.js';
import type { Pristine } from './pristine.js';
import type { WorkFolder } from './record.js';
import { type SortedOut, sortOut } from './sort-out.js';

export interface DifferencesRequest {
  readonly lab: Lab;
  readonly work: WorkFolder;
  readonly project: Project;
  readonly source: Pristine;
}

/** Differing files beyond which a tree is not the work of a student, but another version. */
const FOREIGN = 300;

/**
 * What a tree of a work folder has that the vanilla one has not, sorted out.
 *
 * @throws LabError `work/foreign` for a tree that differs everywhere; `interrupted`.
 */
export async function differencesIn(
  { project, work, lab, source }: DifferencesRequest,
  { step, timeouts }: { readonly step: Step; readonly timeouts: Timeouts },
): Promise<SortedOut> {
  const { copied = 0 } = work.record.trees[project] ?? {};
  const leftOut = lab.skeleton?.leftOut[project] ?? [];
  const tree = join(work.folder, project);
  const all = await compareTrees({ pristine: source.tree, work: tree, leftOut, copied }, step);
  const added = all.filter(({ kind }) => kind === 'added').map(({ path }) => path);
  const ignored = await ignoredIn({ pristine: source.tree, work: tree }, added, {
    signal: step.signal,
    timeout: timeouts.hostTool,
  });
  const sorted = await sortOut(tree, all, ignored);
  if (sorted.contributed.length > FOREIGN) throw foreign(project, sorted);
  return sorted;
}

function foreign(project: Project, { contributed }: SortedOut): LabError {
  return new LabError({
    code: 'work/foreign',
    blame: 'user',
    fact: `${contributed.length} files of ${titleOf(project)}'s tree differ from the vanilla one`,
    evidence: contributed.slice(0, 10).map(({ path, kind }) => `${project}/${path}: ${kind}`),
    next: 'is it another version, or did a tool rewrite it? Make a new work folder and copy your own files there',
  });
}
