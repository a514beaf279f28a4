import type { Outcome } from '../lab/check.js';
import type { GradedLine, Late, Marks } from './grade-report.js';
import { overall } from './report.js';

/** A hand-in time against a deadline, before it is applied to marks. */
export type Lateness = Omit<Late, 'got'>;

const DAY = 24 * 60 * 60 * 1000;

/**
 * Adds up the lines of a marking scheme. A line with the outcome `skipped` is open: a person marks it. A line with
 * the outcome `error` gives nothing and costs nothing: the submission has to be graded again.
 */
export function sumMarks(
  lines: readonly Pick<GradedLine, 'outcome' | 'marks' | 'max'>[],
  lateness?: Lateness,
): Marks {
  const judged = lines.filter(({ outcome }) => outcome !== 'skipped' && outcome !== 'error');
  const open = lines.filter(({ outcome }) => outcome === 'skipped');
  const got = hundredths(judged.map(({ marks }) => marks));
  return {
    got,
    max: hundredths(lines.map(({ max }) => max)),
    open: hundredths(open.map(({ max }) => max)),
    ...(lateness === undefined ? {} : { late: { ...lateness, got: hundredths([got * lateness.factor]) } }),
  };
}

function hundredths(values: readonly number[]): number {
  return Math.round(values.reduce((sum, value) => sum + value, 0) * 100) / 100;
}

/**
 * The late penalty: a tenth of the final mark for each day begun after the deadline, never more than all of it.
 * Zero days when it was handed in on time. `source` says from where the hand-in time was taken.
 */
export function lateness(deadline: Date, handedIn: Date, source: string): Lateness {
  const days = Math.max(0, Math.ceil((handedIn.getTime() - deadline.getTime()) / DAY));
  return {
    deadline: deadline.toISOString(),
    handedIn: handedIn.toISOString(),
    source,
    days,
    factor: Math.max(0, 10 - days) / 10,
  };
}

/** The marks after the late penalty. */
export function finalMarks(marks: Marks): number {
  return marks.late?.got ?? marks.got;
}

/** The gravest outcome; lines that a person marks count only when there are no others. */
export function outcomeOf(lines: readonly Pick<GradedLine, 'outcome'>[]): Outcome {
  return overall(lines);
}
