import type { GradedCheck } from '../../../grade/grade-report.js';
import type { BareCheck, BareLine } from './bare-check.js';
import { identityChecks } from './bare-identity.js';
import { BareLane, type BareLaneOptions } from './bare-lane.js';
import { lifeChecks } from './bare-life.js';
import { offsetCheck } from './bare-offsets.js';
import { registerChecks } from './bare-registers.js';
import { DEVICE_IDS } from './bare-rng.js';
import { otherProcessCheck, seedingChecks } from './bare-seeding.js';
import { sizesCheck } from './bare-sizes.js';

export interface BareLaneResult {
  /** By line of the marking scheme, in the order in which they ran. */
  readonly lines: Readonly<Record<BareLine, readonly GradedCheck[]>>;
  /** What a person who marks enhancements may want to know. */
  readonly enhancementEvidence: readonly string[];
  /** The device has registers beyond the two, which a driver may need. */
  readonly extended: boolean;
}

/** In the order in which they run: seeding first, what changes a device's state later, each on a machine of its own. */
export const bareChecks: readonly BareCheck[] = [
  ...seedingChecks,
  ...identityChecks,
  ...registerChecks,
  offsetCheck,
  sizesCheck,
  ...lifeChecks,
  otherProcessCheck,
];

/** `-device` arguments for so many instances of a device type. */
export function bareDevices(type: string, instances: number): string[] {
  return DEVICE_IDS.slice(0, instances).map((id) => `${type},id=${id}`);
}

/**
 * Judges a device by its registers alone. A device that crashes, hangs or ends QEMU fails the check in which it does
 * so, and the others go on with a new QEMU. `blocked` means that a fault charged elsewhere leaves nothing to judge.
 *
 * @throws LabError for a fault of the host, and `interrupted`.
 */
export async function runBareLane(options: BareLaneOptions): Promise<BareLaneResult> {
  await using lane = new BareLane(options);
  const lines: Record<BareLine, GradedCheck[]> = { 'device-repeat-seed': [], 'device-registers': [] };
  let believed = false;
  for (const check of bareChecks) {
    believed = lane.repeats;
    const before = lines[check.line];
    before.push(await lane.run(check, before.length === 0));
  }
  if (believed && !lane.repeats)
    lines['device-registers'] = await judgedAgain(lane, lines['device-registers']);
  return { lines, enhancementEvidence: [...new Set(lane.enhancements)], extended: lane.extended };
}

/**
 * What seemed wrong with the registers may have been the sequences, which the last check may have found to change
 * with the time: the checks that failed run again, now that sequences count for nothing.
 */
async function judgedAgain(lane: BareLane, verdicts: readonly GradedCheck[]): Promise<GradedCheck[]> {
  const again: GradedCheck[] = [];
  for (const verdict of verdicts) {
    const check = bareChecks.find(({ id }) => id === verdict.id);
    again.push(verdict.outcome === 'failed' && check !== undefined ? await lane.run(check, false) : verdict);
  }
  return again;
}
