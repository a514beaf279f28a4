import { LabError } from '../../../errors.js';
import type { GradedCheck } from '../../../grade/grade-report.js';
import type { JudgeRun } from '../../../grade/grading.js';
import type { DeviceFile, Submission } from '../../../intake/submission.js';
import { backendOf } from '../../../nbd/aligned.js';
import { openSubmittedDevice } from '../../../sandbox/device.js';
import { type DeviceName, type Loaded, PATIENCE } from './device-check.js';
import { rules } from './rules.js';

/** What came of starting the devices of a hand-in. */
export interface Loading {
  readonly check: GradedCheck;
  readonly loaded: readonly Loaded[];
  /** What was taken for what, in sentences. */
  readonly changes: readonly string[];
}

/** Starts each device once: it has to be translated, to be a device, and to say a size that can be served. */
export async function loadDevices(
  { devices, problems }: Pick<Submission, 'devices' | 'problems'>,
  run: JudgeRun,
): Promise<Loading> {
  const began = performance.now();
  const { dir = '', entries = [] } = devices ?? {};
  const loaded: Loaded[] = [];
  const changes: string[] = [];
  const proof: string[] = [];
  const failures: { readonly fact: string; readonly evidence: readonly string[]; readonly hint: string }[] =
    [];
  for (const entry of entries) {
    const open = () => openEntry(entry, dir, run);
    try {
      const { said, has, fits } = await survey(open);
      const name = entry.device ?? fits;
      proof.push(`proof: ${entry.origin} is a device: ${said}`);
      if (loaded.some((other) => other.name === name))
        changes.push(`${entry.origin} was left aside: there is a ${name} already`);
      else loaded.push({ name: name as DeviceName, open });
      if (entry.device === undefined)
        changes.push(`${entry.origin} was taken for the ${name}: it has ${has}`);
    } catch (error) {
      run.signal.throwIfAborted();
      if (!(error instanceof LabError) || error.blame === 'host') throw error;
      failures.push({
        fact: `${entry.origin} holds no device that can be served`,
        ...{ evidence: error.evidence, hint: error.next },
      });
    }
  }
  const [failure] = failures;
  const common = { id: 'loads', title: 'each file of a device loads, and says a size', on: 'hand-in' };
  const duration = Math.round(performance.now() - began);
  if (failure !== undefined)
    return {
      ...{ loaded, changes },
      check: { ...common, outcome: 'failed', blame: 'submission', duration, ...failure },
    };
  if (entries.length > 0)
    return { loaded, changes, check: { ...common, outcome: 'passed', evidence: proof, duration } };
  const evidence = problems.map(({ fact }) => fact);
  const fact = 'the hand-in holds no block device';
  return {
    ...{ loaded, changes },
    check: { ...common, outcome: 'failed', blame: 'submission', fact, evidence, duration },
  };
}

async function openEntry({ path, device }: DeviceFile, folder: string, { timeouts }: JudgeRun) {
  const named = rules.find(({ name }) => name === device)?.words.source;
  const patience = PATIENCE * timeouts.scale;
  return await openSubmittedDevice(path, {
    ...{ patience, timeouts, folder },
    ...(named === undefined ? {} : { named }),
  });
}

/** @throws LabError `nbd/no-device`, `nbd/device`; those of the host. */
async function survey(open: () => ReturnType<typeof openEntry>) {
  await using submitted = await open();
  const { device } = submitted;
  const { size, blockSize } = backendOf(device);
  if (size === 0n) throw empty();
  const fits: DeviceName = device.write === undefined ? 'deadbeef' : 'ramdisk';
  const has = device.write === undefined ? 'no write()' : 'write()';
  return { said: `${size} bytes in blocks of ${blockSize}`, has, fits };
}

function empty(): LabError {
  return new LabError({
    code: 'nbd/device',
    blame: 'user',
    fact: 'the block device has no block',
    evidence: ['blocks() is 0'],
    next: 'correct blockSize() and blocks() of the device',
  });
}
