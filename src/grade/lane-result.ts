import { findTrouble } from '../console/kernel-log.js';
import type { KernelReport } from '../console/kernel-report.js';
import type { Verdict } from '../lab/check.js';
import type { ConsoleExcerpt, GradedCheck } from './grade-report.js';

/** A verdict of a check on a machine, for the report. */
export function gradedCheck(verdict: Verdict, on: string): GradedCheck {
  const { id, title, outcome, blame, fact, hint, proof, evidence, duration } = verdict;
  return {
    ...{ id, title, outcome, on, duration: Math.round(duration) },
    ...(blame === undefined ? {} : { blame }),
    ...(fact === undefined ? {} : { fact }),
    ...(hint === undefined ? {} : { hint }),
    evidence: [...proof.map((text) => `proof: ${text}`), ...evidence],
  };
}

export const MOST_CONSOLE_LINES = 500;

/**
 * The part of a machine's console that is worth reading, around the first trouble, and all trouble of the kernel.
 *
 * @param log path of the whole log, relative to the submission's folder
 */
export function consoleExcerpt(
  on: string,
  all: readonly string[],
  log: string,
): { readonly console: ConsoleExcerpt; readonly reports: readonly KernelReport[] } {
  const reports = findTrouble(all);
  const first = reports[0]?.firstLine ?? all.length;
  const start = Math.max(0, Math.min(first - 100, all.length - MOST_CONSOLE_LINES));
  const lines = all.slice(start, start + MOST_CONSOLE_LINES);
  const marked = reports
    .map(({ firstLine, lastLine, kind, title }) => ({
      from: firstLine - start,
      to: lastLine + 1 - start,
      why: `${kind}: ${title}`,
    }))
    .filter(({ from, to }) => from >= 0 && to <= lines.length);
  return { console: { on, lines, marked, log }, reports };
}
