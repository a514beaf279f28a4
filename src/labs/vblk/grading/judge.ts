import { mkdir } from 'node:fs/promises';
import type { GradedCheck } from '../../../grade/grade-report.js';
import type { Judged, JudgedLine, JudgeRun, LineSpec } from '../../../grade/grading.js';
import type { Submission } from '../../../intake/submission.js';
import { deadbeefDeviceChecks } from './deadbeef.js';
import { type DeviceCheck, DeviceChecks, type DeviceName } from './device-check.js';
import { type Loading, loadDevices } from './load.js';
import { ramdiskDeviceChecks } from './ramdisk.js';
import { robustDeviceChecks } from './robust.js';

const checks: readonly DeviceCheck[] = [
  ...deadbeefDeviceChecks,
  ...ramdiskDeviceChecks,
  ...robustDeviceChecks,
];

/**
 * Judges a hand-in of block devices: each device is started in a jail, anew for each check, and asked from outside.
 *
 * @throws LabError for a fault of the host, and `interrupted`.
 */
export async function judgeDevices(
  submission: Submission,
  lines: readonly LineSpec[],
  { qemuImg }: { readonly qemuImg: string },
  run: JudgeRun,
): Promise<Judged> {
  await mkdir(run.dir, { recursive: true });
  const loading = await run.stages.run('load', 'Start the devices', () => loadDevices(submission, run));
  run.stages.feedback();
  const there = loading.loaded.map(({ name }) => name);
  run.tell(there.length > 0 ? `${there.join(' and ')} can be served` : 'no device can be served');
  const graded = await run.stages.run('ask', 'Ask the devices', () => askDevices(loading, qemuImg, run));
  return {
    lines: new Map(lines.map(({ id }) => [id, lineOf(id, loading, graded)])),
    ...{ changes: loading.changes, warnings: [], buildFiles: [], consoles: [], crashes: [] },
  };
}

interface Graded {
  readonly line: string;
  readonly check: GradedCheck;
}

async function askDevices({ loaded }: Loading, qemuImg: string, run: JudgeRun): Promise<Graded[]> {
  const runner = new DeviceChecks({ qemuImg, run });
  const graded: Graded[] = [];
  for (const check of checks) {
    if (!loaded.some(({ name }) => check.devices.includes(name))) continue;
    graded.push({ line: check.line, check: await runner.verdict(check, loaded) });
  }
  return graded;
}

/** A line about a device that is not there fails for the reason for which it is not there. */
function lineOf(id: string, { check, loaded }: Loading, graded: readonly Graded[]): JudgedLine {
  if (id === 'loads') return { checks: [check], evidence: [] };
  const own = graded.filter(({ line }) => line === id).map((each) => each.check);
  if (own.length > 0) return { checks: own, evidence: [] };
  if (check.outcome !== 'passed' && loaded.length === 0) return { checks: [check], evidence: [] };
  return { checks: [missing(id as DeviceName, check)], evidence: [] };
}

function missing(name: DeviceName, { outcome, evidence }: GradedCheck): GradedCheck {
  return {
    ...{ id: `${name}-handed-in`, title: `a device ${name} was handed in`, on: 'hand-in', duration: 0 },
    ...{ outcome: 'failed', blame: 'submission', evidence: outcome === 'passed' ? [] : evidence },
    fact: `the hand-in holds no device ${name} that loads`,
    hint: `hand in a file ${name}.ts that exports the device as default`,
  };
}
