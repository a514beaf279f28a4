import { isAbort, LabError } from '../src/errors.js';
import type { Outcome } from '../src/lab/check.js';

/** 69 is EX_UNAVAILABLE of sysexits(3), 130 the shell's code for SIGINT. */
export const exitCodes = { ok: 0, failed: 1, usage: 2, host: 69, interrupted: 130 } as const;

/** The exit code for an error that ended a command. */
export function exitCodeOf(error: unknown): number {
  if (isAbort(error)) return exitCodes.interrupted;
  if (!(error instanceof LabError)) return exitCodes.host;
  return { user: exitCodes.usage, host: exitCodes.host, submission: exitCodes.failed }[error.blame];
}

/** The exit code for a run of checks. */
export function exitCodeForOutcome(outcome: Outcome): number {
  if (outcome === 'passed' || outcome === 'skipped') return exitCodes.ok;
  return outcome === 'error' ? exitCodes.host : exitCodes.failed;
}
