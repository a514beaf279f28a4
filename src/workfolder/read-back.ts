import { join } from 'node:path';
import type { IntakeRules } from '../intake/rules.js';
import type { Submission } from '../intake/submission.js';
import { takeIn } from '../intake/take-in.js';
import type { PristineTree } from '../intake/trees.js';
import type { Timeouts } from '../timeouts.js';
import type { MadePatch } from './patches.js';

export interface ReadBackOptions {
  readonly rules: IntakeRules;
  /** Empty private folder. */
  readonly into: string;
  readonly signal: AbortSignal;
  readonly timeouts: Timeouts;
}

/**
 * What grading will make of a folder with the patches: its own reading of them.
 *
 * @throws LabError `interrupted`; faults of the host.
 */
export async function readBack(
  folder: string,
  patches: readonly MadePatch[],
  { rules, ...reading }: ReadBackOptions,
): Promise<Submission> {
  const none: PristineTree = { tree: join(reading.into, 'none'), version: '', wanted: '' };
  const treeOf = (project: MadePatch['project']) =>
    patches.find((patch) => patch.project === project)?.source ?? none;
  return await takeIn(folder, {
    ...reading,
    lab: rules,
    trees: { qemu: treeOf('qemu'), linux: treeOf('linux') },
  });
}
