import type { BareMachine } from '../../../machine/bare.js';
import type { Timeouts } from '../../../timeouts.js';
import type { BareRng } from './bare-rng.js';

/** The lines of the marking scheme that the bare lane decides. */
export type BareLine = 'device-repeat-seed' | 'device-registers';

/** One assertion about the device alone. It passes when it has recorded proof and did not throw. */
export interface BareCheck {
  readonly id: string;
  readonly line: BareLine;
  readonly title: string;
  /** `first`: the machine that the checks before it used, if it lives; `own`: a machine that nobody has touched. */
  readonly machine: 'first' | 'own';
  /** How many instances of the device are on its machine; default 1. */
  readonly instances?: number;
  readonly run: (context: BareContext) => Promise<void>;
}

export interface BareContext {
  readonly machine: BareMachine;
  /** The instances of the device, in order of their slots. */
  readonly devices: readonly [BareRng, ...BareRng[]];
  readonly seeds: Seeds;
  readonly learnt: Learnt;
  readonly timeouts: Timeouts;
  readonly signal: AbortSignal;
  /** A machine that nobody has touched takes the place of the one in use. */
  readonly fresh: () => Promise<BareRng>;
  /** Records an observed fact that supports a pass. */
  readonly prove: (fact: string) => void;
  /** Records what was seen, for whoever reads the report. */
  readonly note: (evidence: string) => void;
  /** Records what helps the person who marks enhancements; `interface`: a driver may need it and miss it elsewhere. */
  readonly enhancement: (evidence: string, what?: 'interface') => void;
}

/** Seeds of one grading; all but the fixed ones come from the host's nonce. */
export interface Seeds {
  /** 0x42, 0, 1, one of at least 2³¹, and four more. */
  readonly all: readonly number[];
  /** One of `all`, at least 2. */
  readonly main: number;
  /** Another one. */
  readonly other: number;
  /** 0x100 to 0xffff: harmless as whatever else a register may mean by it. */
  readonly small: number;
}

/** What earlier checks found out; later ones judge what can still be judged. */
export interface Learnt {
  /** The first 16 numbers of each seed, from a machine where nothing else had been done. */
  readonly sequences: Map<number, readonly number[]>;
  /** When the first seed was written; milliseconds since the epoch. */
  seededAt: number;
  /** Whether seeding the same value again gave the same sequence. */
  repeats: boolean;
  /** Whether successive numbers differ. */
  varies: boolean;
}

/** Whether sequences tell anything: they repeat, and they are more than one number over and over. */
export function comparable({ repeats, varies }: Learnt): boolean {
  return repeats && varies;
}

/** A check that cannot judge because of a fault that another check has found. */
export class Blocked extends Error {
  override readonly name = 'Blocked';
}

/** A check that does not apply to this device. */
export class NotApplicable extends Error {
  override readonly name = 'NotApplicable';
  readonly evidence: readonly string[];

  constructor(fact: string, evidence: readonly string[] = []) {
    super(fact);
    this.evidence = evidence;
  }
}
