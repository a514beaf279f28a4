import { type Blame, interrupted, isAbort, LabError } from '../../../errors.js';
import { CheckFailure, type Outcome } from '../../../lab/check.js';
import type { QemuExit } from '../../../machine/machine.js';
import { describeExit } from '../../../machine/process.js';
import { Blocked, NotApplicable } from './bare-check.js';
import { DeviceDied } from './bare-rng.js';

/** What a check came to. */
export interface Judgement {
  readonly outcome: Outcome;
  readonly blame?: Blame;
  readonly fact?: string;
  readonly hint?: string;
  readonly evidence?: readonly string[];
}

/** Whether the machine is of no more use after this, so that the way in which it ends belongs to the verdict. */
export function needsExit(error: unknown): boolean {
  return !(error instanceof CheckFailure || error instanceof Blocked || error instanceof NotApplicable);
}

/** Whether QEMU ended a connection, and so most likely itself. */
export function connectionClosed(error: unknown): boolean {
  const cause = error instanceof DeviceDied ? error.cause : error;
  return cause instanceof LabError && cause.code.endsWith('/closed');
}

/**
 * The verdict on a check that ended with this error.
 *
 * @param exit how QEMU ended, if it was running.
 * @throws the error itself unless the device under test is to blame; LabError `interrupted`.
 */
export function judge(error: unknown, exit: QemuExit | undefined): Judgement {
  if (isAbort(error)) throw interrupted('the test of the device');
  if (error instanceof Blocked) return { outcome: 'blocked', fact: error.message };
  if (error instanceof NotApplicable) {
    return { outcome: 'skipped', fact: error.message, evidence: error.evidence };
  }
  if (error instanceof CheckFailure) {
    const { message: fact, evidence, hint } = error;
    return {
      outcome: 'failed',
      blame: 'submission',
      fact,
      evidence,
      ...(hint === undefined ? {} : { hint }),
    };
  }
  if (error instanceof DeviceDied && error.cause instanceof LabError) return died(error, error.cause, exit);
  if (error instanceof LabError && error.blame === 'submission') return didNotStart(error);
  throw error;
}

const STARTS: Readonly<Record<string, Outcome>> = {
  'machine/start-crashed': 'crashed',
  'machine/start-timeout': 'timed-out',
};

function didNotStart({ code, message, evidence, next }: LabError): Judgement {
  return {
    outcome: STARTS[code] ?? 'failed',
    blame: 'submission',
    fact: message,
    evidence: lastWords(evidence),
    hint: next,
  };
}

function died({ during }: DeviceDied, cause: LabError, exit: QemuExit | undefined): Judgement {
  const evidence = lastWords(exit?.lines ?? []);
  const common = { blame: 'submission' as const };
  if (cause.code.endsWith('/timeout')) {
    return {
      ...common,
      outcome: 'timed-out',
      fact: `QEMU hangs: no answer to ${during}`,
      hint: 'look for a loop without end in the function of the device that serves this',
      evidence: [cause.message, ...evidence],
    };
  }
  if (cause.code.endsWith('/closed')) {
    return {
      ...common,
      outcome: 'crashed',
      fact: `QEMU ${exit === undefined ? 'ended' : describeExit(exit)} during ${during}`,
      hint: 'run it under gdb (gdb --args qemu-system-x86_64 … -device my_rng) and do the same access',
      evidence,
    };
  }
  const what = [cause.message, ...cause.evidence];
  return {
    ...common,
    outcome: 'failed',
    fact: `QEMU did not carry out ${during}`,
    evidence: [...what, ...evidence],
  };
}

function lastWords(lines: readonly string[]): string[] {
  return lines.length === 0 ? ['QEMU printed nothing'] : lines.map((line) => `QEMU: ${line}`);
}
