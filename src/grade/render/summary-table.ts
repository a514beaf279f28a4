import type { Outcome } from '../../lab/check.js';
import type { GradedSubmission, GradeReport } from '../grade-report.js';
import { finalMarks } from '../marks.js';
import { alarmsOf, reasonOf, WORDS } from './reason.js';
import { number, oneLine } from './text.js';

const WIDTH = 110;
const ID_WIDTH = 28;
const REASON_WIDTH = 20;

const LETTERS: Readonly<Record<Outcome, string>> = {
  passed: '+',
  failed: 'F',
  crashed: 'C',
  'timed-out': 'T',
  blocked: '-',
  skipped: '?',
  error: 'E',
};

/**
 * A grading for the terminal: alarms, one row per submission with a letter per line of the marking scheme, and the
 * key to the letters. No line is wider than 110 columns or holds control characters.
 */
export function summaryTable(report: GradeReport): string[] {
  const rows = report.submissions.map(cells);
  const head = ['submission', 'marks', 'lines', 'outcome', 'reason'];
  const widths = head.map((title, column) =>
    Math.max(...[title, ...rows.map((row) => row[column] ?? '')].map(columns)),
  );
  return [
    ...alarmsOf(report).map(({ title, text }) => cut(`! ${title}. ${oneLine(text)}`, WIDTH)),
    ...[head, ...rows].map((row) => align(row, widths)),
    ...key(report.submissions),
  ];
}

function cells(submission: GradedSubmission): string[] {
  const { id, marks, lines, outcome } = submission;
  const late = marks.late !== undefined && marks.late.factor < 1 ? ' late' : '';
  return [
    cut(oneLine(id), ID_WIDTH),
    `${number(finalMarks(marks))}/${number(marks.max)}${late}`,
    lines.map((line) => LETTERS[line.outcome]).join(''),
    WORDS[outcome],
    oneLine(reasonOf(submission)),
  ];
}

/** Columns beside each other; the last one gets what is left. Very many lines leave no room: they are cut. */
function align(row: readonly string[], widths: readonly number[]): string {
  const fixed = row.slice(0, -1).map((text, column) => pad(text, widths[column] ?? 0));
  const left = cut(fixed.join('  '), WIDTH - REASON_WIDTH - 2);
  return `${left}  ${cut(row.at(-1) ?? '', WIDTH - columns(left) - 2)}`.trimEnd();
}

function key(submissions: readonly GradedSubmission[]): string[] {
  const found = new Set(submissions.flatMap(({ lines }) => lines.map(({ outcome }) => outcome)));
  const letters = Object.entries(LETTERS).filter(([outcome]) => found.has(outcome as Outcome));
  const open = submissions.find(({ marks }) => marks.open > 0)?.marks.open;
  const lines = submissions[0]?.lines.map(({ id }, index) => `${index + 1}\u00a0${oneLine(id)}`) ?? [];
  if (lines.length === 0) return [];
  return [
    '',
    cut(letters.map(([outcome, letter]) => `${letter} ${WORDS[outcome as Outcome]}`).join('  '), WIDTH),
    ...wrap(`lines: ${lines.join(', ')}`),
    ...(open === undefined ? [] : [`a person still gives up to ${number(open)} marks`]),
  ];
}

function wrap(text: string): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (columns(longer) <= WIDTH) line = longer;
    else {
      lines.push(line);
      line = cut(`  ${word}`, WIDTH);
    }
  }
  return [...lines, line].map((text) => text.replaceAll('\u00a0', ' '));
}

function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - columns(text)));
}

function cut(text: string, width: number): string {
  if (columns(text) <= width) return text;
  let kept = '';
  let used = 0;
  for (const character of text) {
    used += columns(character);
    if (used > width - 1) break;
    kept += character;
  }
  return `${kept}…`;
}

const WIDE =
  /[\u1100-\u115f\u231a-\u23ff\u2600-\u27bf\u2b00-\u2bff\u2e80-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{16fe0}-\u{1b2ff}\u{1f000}-\u{1faff}\u{20000}-\u{3fffd}]/u;

/** Columns on a terminal: wide characters take two; combining ones are counted as one, which is never too few. */
function columns(text: string): number {
  return [...text].reduce((sum, character) => sum + (WIDE.test(character) ? 2 : 1), 0);
}
