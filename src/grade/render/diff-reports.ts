import type { GradedLine, GradedSubmission, GradeReport } from '../grade-report.js';
import { finalMarks } from '../marks.js';
import { number, oneLine } from './text.js';

/** One value that differs between two reports. */
export interface Change {
  /** `outcome`, `marks`, `blame`, …; for a check with its id: `check bare-sizes outcome`. */
  readonly what: string;
  readonly before: string;
  readonly after: string;
}

export interface SubmissionDifference {
  readonly id: string;
  readonly kind: 'added' | 'removed' | 'changed';
  /** Of the submission as a whole. */
  readonly changes: readonly Change[];
  readonly lines: readonly { readonly id: string; readonly changes: readonly Change[] }[];
}

const NOTHING = 'nothing';

/**
 * What two gradings judge differently: outcomes, marks and blame of submissions, lines and checks. What differs
 * between any two runs (times, paths, wording and evidence, which name random seeds) does not count.
 */
export function diffReports(before: GradeReport, after: GradeReport): SubmissionDifference[] {
  return pairs(before.submissions, after.submissions).flatMap(([old, now]): SubmissionDifference[] => {
    if (old === undefined)
      return now === undefined ? [] : [{ id: now.id, kind: 'added', changes: [], lines: [] }];
    if (now === undefined) return [{ id: old.id, kind: 'removed', changes: [], lines: [] }];
    const changes = compare(submissionValues(old), submissionValues(now));
    const lines = pairs(old.lines, now.lines)
      .map(([a, b]) => ({ id: (a ?? b)?.id ?? '', changes: compare(lineValues(a), lineValues(b)) }))
      .filter((line) => line.changes.length > 0);
    return changes.length + lines.length === 0 ? [] : [{ id: old.id, kind: 'changed', changes, lines }];
  });
}

/** The differences as sentences, one per value. */
export function describeDifferences(differences: readonly SubmissionDifference[]): string[] {
  return differences.flatMap(({ id, kind, changes, lines }) => {
    if (kind !== 'changed') return [oneLine(`${id}: ${kind}`)];
    const all = [
      ...changes.map((change) => ({ of: id, change })),
      ...lines.flatMap((line) => line.changes.map((change) => ({ of: `${id}, ${line.id}`, change }))),
    ];
    return all.map(({ of, change }) => oneLine(`${of}: ${change.what} ${change.before} → ${change.after}`));
  });
}

/** Values of the same id side by side, in the order of the first list, then what only the second has. */
function pairs<T extends { readonly id: string }>(
  before: readonly T[],
  after: readonly T[],
): [T | undefined, T | undefined][] {
  const [olds, news] = [before, after].map((list) => new Map(list.map((item) => [item.id, item])));
  const ids = new Set([...(olds?.keys() ?? []), ...(news?.keys() ?? [])]);
  return [...ids].map((id) => [olds?.get(id), news?.get(id)]);
}

type Values = ReadonlyMap<string, string>;

function submissionValues({ outcome, marks }: GradedSubmission): Values {
  return new Map([
    ['outcome', outcome],
    ['marks', number(marks.got)],
    ['of', number(marks.max)],
    ['open', number(marks.open)],
    ['final', number(finalMarks(marks))],
  ]);
}

function lineValues(line: GradedLine | undefined): Values {
  if (line === undefined) return new Map();
  return new Map([
    ['outcome', line.outcome],
    ['marks', number(line.marks)],
    ['of', number(line.max)],
    ['blame', line.blame ?? NOTHING],
    ...line.checks.map(({ id, on, outcome }): [string, string] => [`check ${id} (${on})`, outcome]),
  ]);
}

function compare(before: Values, after: Values): Change[] {
  return [...new Set([...before.keys(), ...after.keys()])]
    .map((what) => ({ what, before: before.get(what) ?? NOTHING, after: after.get(what) ?? NOTHING }))
    .filter((change) => change.before !== change.after);
}
