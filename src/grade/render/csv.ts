import type { GradedLine, GradedSubmission, GradeReport } from '../grade-report.js';
import { finalMarks } from '../marks.js';
import { decisiveLine, reasonOf } from './reason.js';
import { number, oneLine } from './text.js';

/**
 * The class as CSV (RFC 4180): a record per submission, a column with the marks of each line. Open lines are empty,
 * as are those that a fault of the host kept from being judged.
 */
export function toCsv(report: GradeReport): string {
  const ids = lineIds(report.submissions);
  const head = ['id', 'outcome', 'got', 'max', 'open', 'late factor', 'final', ...ids, 'blame', 'reason'];
  const rows = [head, ...report.submissions.map((submission) => record(submission, ids))];
  return rows.map((row) => `${row.map(cell).join(',')}\r\n`).join('');
}

/** The ids of all lines, in the order of their first appearance. */
function lineIds(submissions: readonly GradedSubmission[]): string[] {
  return [...new Set(submissions.flatMap(({ lines }) => lines.map(({ id }) => id)))];
}

function record(submission: GradedSubmission, ids: readonly string[]): string[] {
  const { id, outcome, marks, lines } = submission;
  const { blame } = decisiveLine(submission) ?? {};
  return [
    id,
    outcome,
    number(marks.got),
    number(marks.max),
    number(marks.open),
    number(marks.late?.factor ?? 1),
    number(finalMarks(marks)),
    ...ids.map((name) => marksOf(lines.find((line) => line.id === name))),
    blame ?? '',
    reasonOf(submission),
  ];
}

function marksOf(line: GradedLine | undefined): string {
  if (line === undefined || line.outcome === 'skipped' || line.outcome === 'error') return '';
  return number(line.marks);
}

/** Spreadsheets run what begins like a formula; an apostrophe before it makes it text. */
function cell(value: string): string {
  const plain = oneLine(value);
  const safe = /^[=+\-@\uff1d\uff0b\uff0d\uff20|%]/.test(plain) ? `'${plain}` : plain;
  return /[",;]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
