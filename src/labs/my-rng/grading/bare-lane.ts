import { createHash } from 'node:crypto';
import { isAbort, LabError } from '../../../errors.js';
import type { GradedCheck } from '../../../grade/grade-report.js';
import type { BareMachine } from '../../../machine/bare.js';
import type { QemuExit } from '../../../machine/machine.js';
import type { Timeouts } from '../../../timeouts.js';
import {
  type BareCheck,
  type BareContext,
  Blocked,
  type Learnt,
  NotApplicable,
  type Seeds,
} from './bare-check.js';
import { BareRng, DEVICE_IDS } from './bare-rng.js';
import { connectionClosed, type Judgement, judge, needsExit } from './bare-verdict.js';

export interface BareLaneOptions {
  /**
   * A machine with so many instances of the device under test, whose ids are the first of `DEVICE_IDS`:
   * `launchBare({ devices: bareDevices('my_rng', instances), … })`.
   */
  readonly start: (instances: number) => Promise<BareMachine>;
  readonly signal: AbortSignal;
  readonly timeouts: Timeouts;
  /** Bytes that the host chose for this grading. */
  readonly nonce: Uint8Array;
  /** What the checks run on, for the report: `student device, qtest`. */
  readonly on: string;
}

/**
 * The machines of one run through the checks of a device, and what one check teaches the next. Checks that share a
 * machine run on it until it dies; then, and for every check that wants its own, a new one is started.
 */
export class BareLane implements AsyncDisposable {
  readonly enhancements: string[] = [];
  /** The device has registers that the reference device lacks. */
  extended = false;
  readonly #options: BareLaneOptions;
  readonly #seeds: Seeds;
  readonly #learnt: Learnt = { sequences: new Map(), seededAt: 0, repeats: false, varies: false };
  #machine: BareMachine | undefined;
  /** Why no machine with the device starts. */
  #startFailure: unknown;

  constructor(options: BareLaneOptions) {
    this.#options = options;
    this.#seeds = chooseSeeds(options.nonce);
  }

  /** Whether the same seed has always given the same sequence, as far as is known. */
  get repeats(): boolean {
    return this.#learnt.repeats;
  }

  async run(check: BareCheck, firstOfLine: boolean): Promise<GradedCheck> {
    const started = performance.now();
    const proof: string[] = [];
    const notes: string[] = [];
    const judged = await this.#judge(check, firstOfLine, proof, notes);
    const { id, title } = check;
    const evidence = [...proof.map((fact) => `proof: ${fact}`), ...(judged.evidence ?? []), ...notes];
    const duration = performance.now() - started;
    return { id, title, on: this.#options.on, ...judged, evidence, duration };
  }

  async #judge(check: BareCheck, firstOfLine: boolean, proof: string[], notes: string[]): Promise<Judgement> {
    try {
      if (this.#startFailure !== undefined) {
        throw firstOfLine ? this.#startFailure : new Blocked('QEMU does not start with this device');
      }
      const devices = await this.#machineFor(check);
      await check.run(this.#context(devices, proof, notes));
      return { outcome: 'passed' };
    } catch (error) {
      const exit = needsExit(error) ? await this.#end(connectionClosed(error)) : undefined;
      return judge(error, exit);
    } finally {
      // the next check on the first machine may go on there; nobody goes on where state was changed
      if (check.machine === 'own') await this.#end();
    }
  }

  async #machineFor(check: BareCheck): Promise<[BareRng, ...BareRng[]]> {
    const instances = check.instances ?? 1;
    const usable = check.machine === 'first' ? this.#machine : undefined;
    const machine = usable ?? (await this.#start(instances));
    const first = await BareRng.map(machine, DEVICE_IDS[0]);
    const further = await Promise.all(DEVICE_IDS.slice(1, instances).map((id) => BareRng.map(machine, id)));
    return [first, ...further];
  }

  async #start(instances: number): Promise<BareMachine> {
    await this.#end();
    try {
      this.#machine = await this.#options.start(instances);
      return this.#machine;
    } catch (error) {
      if (isAbort(error) || !(error instanceof LabError) || error.blame !== 'submission') throw error;
      if (instances > 1 && error.code === 'machine/start') {
        throw new NotApplicable('QEMU refuses a second instance of the device', error.evidence);
      }
      if (instances === 1) this.#startFailure = error;
      throw error;
    }
  }

  #context(devices: [BareRng, ...BareRng[]], proof: string[], notes: string[]): BareContext {
    const { timeouts, signal } = this.#options;
    const machine = () => this.#machine as BareMachine;
    return {
      get machine() {
        return machine();
      },
      devices,
      seeds: this.#seeds,
      learnt: this.#learnt,
      timeouts,
      signal,
      fresh: async () => {
        return await BareRng.map(await this.#start(1), DEVICE_IDS[0]);
      },
      prove: (fact) => void proof.push(fact),
      note: (evidence) => void notes.push(evidence),
      enhancement: (evidence, what) => {
        this.enhancements.push(evidence);
        if (what === 'interface') this.extended = true;
      },
    };
  }

  /** Ends the machine, if there is one, and tells how it ended; one that is ending by itself may do so. */
  async #end(byItself = false): Promise<QemuExit | undefined> {
    const machine = this.#machine;
    this.#machine = undefined;
    return await (byItself ? machine?.collect() : machine?.kill());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }
}

/** Seeds that nobody can know before the grading, and the ones that everybody knows. */
function chooseSeeds(nonce: Uint8Array): Seeds {
  const words = createHash('sha256').update(nonce).digest();
  const word = (index: number) => (words.readUInt32LE(4 * index) | 2) >>> 0; // 0 and 1 may be the same seed
  const large = (word(0) | 0x80000000) >>> 0;
  const [main, other] = [word(1), word(2)];
  return {
    all: [...new Set([0x42, 0, 1, large, main, other, word(3), word(4)])],
    main,
    other,
    small: 0x100 | (word(5) & 0xfe00) | (word(6) & 0xff),
  };
}
