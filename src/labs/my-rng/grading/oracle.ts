import { LabError } from '../../../errors.js';
import { CheckFailure } from '../../../lab/check.js';
import type { BareMachine } from '../../../machine/bare.js';
import { describeExit } from '../../../machine/process.js';
import { glibcRandom } from '../glibc-random.js';
import { BareRng, DEVICE_IDS, DeviceDied } from './bare-rng.js';
import { connectionClosed } from './bare-verdict.js';
import { keyedNumbers } from './keyed.js';

/** Knows what a device gives, whatever stands between it and whoever asks. */
export interface Oracle {
  /** The first `count` numbers after a write of `seed`. */
  numbers(seed: number, count: number): Promise<readonly number[]>;
}

/** What the reference device gives without a key. */
export const glibcOracle: Oracle = {
  numbers: async (seed, count) => glibcRandom(seed, count),
};

/** What the reference device gives with this key. */
export function keyedOracle(key: string): Oracle {
  return { numbers: async (seed, count) => keyedNumbers(key, seed, 0, count) };
}

/**
 * Asks a device itself, on a bare machine of its own; answers are kept. Questions are answered one after another. A
 * device that dies is asked once more in a new QEMU.
 */
export class DeviceOracle implements Oracle, AsyncDisposable {
  readonly #start: () => Promise<BareMachine>;
  readonly #known = new Map<number, readonly number[]>();
  #machine: BareMachine | undefined;
  #queue: Promise<unknown> = Promise.resolve();

  /** @param start gives a machine with one device, as `BareLaneOptions.start` does. */
  constructor(start: () => Promise<BareMachine>) {
    this.#start = start;
  }

  /**
   * @throws LabError `grading/device-died` or `grading/no-registers` (blame submission), what `start` throws,
   *   `interrupted`.
   */
  async numbers(seed: number, count: number): Promise<readonly number[]> {
    const answer = this.#queue.then(() => this.#answer(seed, count));
    this.#queue = answer.catch(() => {});
    return await answer;
  }

  async #answer(seed: number, count: number): Promise<readonly number[]> {
    const known = this.#known.get(seed) ?? [];
    if (known.length >= count) return known.slice(0, count);
    const numbers = await this.#ask(seed, count).catch(async (error: unknown) => {
      await this.#end();
      if (error instanceof CheckFailure) throw withoutRegisters(error);
      if (!(error instanceof DeviceDied)) throw error;
      return await this.#ask(seed, count).catch((again: unknown) => this.#giveUp(again));
    });
    this.#known.set(seed, numbers);
    return numbers;
  }

  async #ask(seed: number, count: number): Promise<number[]> {
    this.#machine ??= await this.#start();
    const rng = await BareRng.map(this.#machine, DEVICE_IDS[0]);
    return await rng.sequence(seed, count);
  }

  async #giveUp(error: unknown): Promise<never> {
    const exit = await this.#end(connectionClosed(error));
    if (!(error instanceof DeviceDied)) throw error;
    throw new LabError({
      code: 'grading/device-died',
      blame: 'submission',
      fact: `${error.message}, twice${exit === undefined ? '' : `; it ${describeExit(exit)}`}`,
      evidence: exit?.lines ?? [],
      next: 'look at what the device does there; the checks without a guest show it alone',
      cause: error,
    });
  }

  async #end(byItself = false) {
    const machine = this.#machine;
    this.#machine = undefined;
    return await (byItself ? machine?.collect() : machine?.kill());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue;
    await this.#end();
  }
}

function withoutRegisters({ message, evidence, hint }: CheckFailure): LabError {
  return new LabError({
    code: 'grading/no-registers',
    blame: 'submission',
    fact: message,
    evidence,
    next: hint ?? 'compare the registration of the device and its BAR with the exercise',
  });
}
