import { isAbort, LabError } from '../../../errors.js';
import type { GradedCheck } from '../../../grade/grade-report.js';
import type { JudgeRun } from '../../../grade/grading.js';
import { CheckFailure } from '../../../lab/check.js';
import type { BlockDevice } from '../../../nbd/device.js';
import { wrap } from '../../../nbd/devices/wrap.js';
import type { SubmittedDevice } from '../../../sandbox/device.js';
import { openWait } from '../../../waits.js';

/** The two devices that the exercise asks for. */
export type DeviceName = 'deadbeef' | 'ramdisk';

/** What one check looks at: a device that nobody has used yet. */
export interface Scene {
  readonly name: DeviceName;
  readonly device: BlockDevice;
  readonly nonce: Buffer;
  /** Path of qemu-img, a client that nobody here wrote. */
  readonly qemuImg: string;
  readonly run: JudgeRun;
  readonly prove: (fact: string) => void;
}

/** An assertion about a device that runs in the sandbox, asked from outside of it. */
export interface DeviceCheck {
  readonly id: string;
  readonly title: string;
  /** Id of a line of the marking scheme. */
  readonly line: string;
  /** The devices that it is about. */
  readonly devices: readonly DeviceName[];
  readonly run: (scene: Scene) => Promise<void>;
}

/** A device of a hand-in that was found to load; each call starts it anew in a jail of its own. */
export interface Loaded {
  readonly name: DeviceName;
  readonly open: () => Promise<SubmittedDevice>;
}

/** Milliseconds for one operation of a device, on the reference host. */
export const PATIENCE = 5_000;
/** Milliseconds for a check with one device. */
const DEADLINE = 60_000;
/** After so many checks in which a device did not answer in time, the others with it are not begun. */
const MOST_LATE = 2;

/** Carries out checks on the devices that load, one at a time; what a device does is a verdict. */
export class DeviceChecks {
  readonly #surroundings: Pick<Scene, 'qemuImg' | 'run'>;
  readonly #late = new Map<DeviceName, number>();

  constructor(surroundings: Pick<Scene, 'qemuImg' | 'run'>) {
    this.#surroundings = surroundings;
  }

  /** @throws LabError for a fault of the host, and `interrupted`. */
  async verdict(check: DeviceCheck, loaded: readonly Loaded[]): Promise<GradedCheck> {
    const { id, title } = check;
    const common = { id, title, on: 'device in the sandbox' };
    const about = loaded.filter(({ name }) => check.devices.includes(name));
    const late = about.find(({ name }) => (this.#late.get(name) ?? 0) >= MOST_LATE);
    if (late !== undefined) {
      const fact = `${late.name} did not answer in time in ${MOST_LATE} checks`;
      return { ...common, outcome: 'blocked', fact, evidence: [], duration: 0 };
    }
    const began = performance.now();
    const evidence: string[] = [];
    const failure = await this.#firstFailure(check, about, evidence);
    const duration = Math.round(performance.now() - began);
    if (failure === undefined) return { ...common, outcome: 'passed', evidence, duration };
    const { outcome, message: fact, hint } = failure;
    return {
      ...{ ...common, outcome, blame: 'submission', fact, duration },
      ...(hint === undefined ? {} : { hint }),
      evidence: [...evidence, ...failure.evidence],
    };
  }

  async #firstFailure(check: DeviceCheck, about: readonly Loaded[], evidence: string[]) {
    for (const one of about) {
      const failure = await this.#failure(check, one, (fact) => evidence.push(`proof: ${one.name}: ${fact}`));
      if (failure?.outcome === 'timed-out') this.#late.set(one.name, (this.#late.get(one.name) ?? 0) + 1);
      if (failure !== undefined) return failure;
    }
    return undefined;
  }

  async #failure(
    check: DeviceCheck,
    { name, open }: Loaded,
    prove: Scene['prove'],
  ): Promise<CheckFailure | undefined> {
    const { run } = this.#surroundings;
    run.signal.throwIfAborted();
    try {
      await using submitted = await open();
      const device = explaining(submitted.device);
      const scene = { ...this.#surroundings, name, device, nonce: run.nonce, prove };
      const error = await errorOf(check.run(scene), DEADLINE * run.timeouts.scale, run.signal);
      return failureOf(error, submitted);
    } catch (error) {
      return failureOf(error, undefined); // it loaded before
    }
  }
}

/** The same device; what it fails with says which operation that was. */
function explaining(device: BlockDevice): BlockDevice {
  return wrap(device, async ({ kind, offset, length }, carryOut) => {
    try {
      await carryOut();
    } catch (error) {
      const where = length > 0 ? ` of ${length} bytes at ${offset}` : '';
      throw new CheckFailure(`${kind}${where} failed`, [error instanceof Error ? error.message : `${error}`]);
    }
  });
}

/** What it was rejected with, if it was. */
async function errorOf(work: Promise<void>, timeout: number, signal: AbortSignal): Promise<unknown> {
  const fact = `it did not end within ${(timeout / 1000).toFixed(0)} s`;
  const onTimeout = () => new CheckFailure(fact, [], undefined, 'timed-out');
  const wait = openWait<void>({ what: 'the check of a device', timeout, signal, onTimeout });
  work.then(wait.resolve, wait.reject);
  return await wait.promise.then(
    () => undefined,
    (error: unknown) => error,
  );
}

/** A device that is of no use any more has failed, whatever the check itself has seen. */
function failureOf(error: unknown, submitted: SubmittedDevice | undefined): CheckFailure | undefined {
  if (error !== undefined && (isAbort(error) || !isAboutDevice(error))) throw error;
  const lost = submitted?.lost();
  const printed = (submitted?.said() ?? []).slice(-5).map((line) => `it printed: ${line}`);
  if (lost !== undefined) {
    const outcome = lost.late ? 'timed-out' : 'crashed';
    const fact = `the device is of no use any more: ${lost.reason}`;
    const before = error instanceof Error ? [error.message] : [];
    return new CheckFailure(fact, [...before, ...printed], HINTS[outcome], outcome);
  }
  if (error === undefined) return undefined;
  const { message, evidence } = error as CheckFailure | LabError;
  if (!(error instanceof CheckFailure)) return new CheckFailure(message, [...evidence, ...printed]);
  return new CheckFailure(message, [...evidence, ...printed], error.hint, error.outcome);
}

const HINTS = {
  'timed-out': 'look for a loop without an end, and for a promise that nothing resolves',
  crashed:
    'look for an error outside of what the operation awaits, for process.exit(), and for memory without bound',
};

function isAboutDevice(error: unknown): error is CheckFailure | LabError {
  return error instanceof CheckFailure || (error instanceof LabError && error.blame === 'submission');
}
