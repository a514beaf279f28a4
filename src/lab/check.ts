import type { Blame } from '../errors.js';
import type { Guest } from '../guest/guest.js';
import type { Machine } from '../machine/machine.js';
import type { Timeouts } from '../timeouts.js';

/** `blocked`: a check that it builds on did not pass. `error`: the host's fault, never charged to a submission. */
export type Outcome = 'passed' | 'failed' | 'crashed' | 'timed-out' | 'blocked' | 'skipped' | 'error';

/** One assertion about a live machine. It passes only when it has shown positive proof and did not throw. */
export interface Check {
  /** Stable name, e.g. `driver-seed-repeats`. */
  readonly id: string;
  /** What is asserted, as one sentence. */
  readonly title: string;
  /** Milliseconds on the reference host; scaled with all other deadlines. */
  readonly deadline: number;
  /** Ids of checks without whose pass this one makes no sense. */
  readonly needs?: readonly string[];
  /** A reason for which this check does not apply to this run. */
  readonly skip?: (context: CheckTarget) => string | undefined;
  readonly run: (context: CheckContext) => Promise<void>;
  /** What can still be told of it when an earlier check has ended the machine, from what the host has of it. */
  readonly postMortem?: (context: CheckTarget) => CheckFailure | undefined;
}

/** What the checks of one run look at. */
export interface CheckTarget {
  /** Name of the lab. */
  readonly lab: string;
  readonly machine: Machine;
  readonly guest: Guest;
  readonly profile: string;
  readonly variant: string;
  readonly timeouts: Timeouts;
  /** Bytes chosen by the host for this run; seeds are taken from it, and it stands in the report. */
  readonly nonce: Buffer;
}

export interface CheckContext extends CheckTarget {
  readonly signal: AbortSignal;
  /** Records an observed fact that supports a pass. */
  readonly prove: (fact: string) => void;
  /** Records what was seen, for whoever reads the report. */
  readonly note: (evidence: string) => void;
}

/** How the thing under test was wrong. `crashed`: the machine is of no further use, so later checks are blocked. */
export type FailedOutcome = Extract<Outcome, 'failed' | 'crashed' | 'timed-out'>;

/** What a check throws when the thing under test is wrong. */
export class CheckFailure extends Error {
  override readonly name: string = 'CheckFailure';
  readonly evidence: readonly string[];
  readonly hint: string | undefined;
  readonly outcome: FailedOutcome;

  constructor(
    fact: string,
    evidence: readonly string[] = [],
    hint?: string,
    outcome: FailedOutcome = 'failed',
  ) {
    super(fact);
    this.evidence = evidence;
    this.hint = hint;
    this.outcome = outcome;
  }
}

/** Throws a `CheckFailure` with both values unless they are equal as text. */
export function expectEqual(what: string, actual: unknown, expected: unknown, hint?: string): void {
  if (String(actual) === String(expected)) return;
  throw new CheckFailure(
    `${what} is not as expected`,
    [`expected: ${expected}`, `actual:   ${actual}`],
    hint,
  );
}

/** Throws a `CheckFailure` that says how it is `otherwise`. */
export function expectTrue(holds: boolean, otherwise: string, hint?: string): void {
  if (!holds) throw new CheckFailure(otherwise, [], hint);
}

/**
 * Throws a `CheckFailure` unless a call ended with this error: its name, `null` for success.
 *
 * @param call what was done, as the subject of a sentence: `registering`.
 */
export function expectErrno(
  call: string,
  actual: string | null | undefined,
  expected: string | null,
  hint = expected === null ? undefined : ERRNO_HINTS[expected],
): void {
  if (actual === expected) return;
  const seen =
    actual === undefined ? 'gave no answer' : actual === null ? 'reports success' : `failed with ${actual}`;
  throw new CheckFailure(`${call} ${seen}${expected === null ? '' : ` instead of ${expected}`}`, [], hint);
}

const ERRNO_HINTS: Readonly<Record<string, string>> = {
  EFAULT: 'check what copy_to_user, copy_from_user, put_user and get_user return, and return -EFAULT then',
  ENODEV: 'a call must see that the device is gone before it touches it, and return -ENODEV',
  ENOTTY: 'return -ENOTTY in the default case of the switch over the commands, and do nothing else there',
};

/** The outcome of one check, with what was seen. */
export interface Verdict {
  readonly id: string;
  readonly title: string;
  readonly outcome: Outcome;
  readonly blame?: Blame;
  /** One sentence on why it did not pass. */
  readonly fact?: string;
  readonly hint?: string;
  readonly proof: readonly string[];
  readonly evidence: readonly string[];
  /** Milliseconds. */
  readonly duration: number;
}
