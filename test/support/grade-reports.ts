import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { GradedSubmission, GradeReport } from '../../src/grade/grade-report.js';
import { parseGradeReport } from '../../src/grade/render/json-schema.js';

const folder = join(import.meta.dirname, '../fixtures/grading');

export const fixtureNames = readdirSync(folder).map((file) => file.replace(/\.json$/, ''));

/** A report written by hand: `good`, `bad`, `crashed`, `hostile`, `late`, `no-sandbox` or `canary-failed`. */
export function fixture(name: string): GradeReport {
  return parseGradeReport(readFileSync(join(folder, `${name}.json`), 'utf8'));
}

export function only(report: GradeReport): GradedSubmission {
  const [submission] = report.submissions;
  if (submission === undefined) throw new Error('the fixture has no submission');
  return submission;
}

/** A class of `size`: all fixtures over and over, most of them good, each with an id of its own. */
export function classOf(size: number): GradeReport {
  const rare = fixtureNames.flatMap((name) => fixture(name).submissions);
  const good = only(fixture('good'));
  const submissions = Array.from({ length: size }, (_, index) => {
    const base = index % 3 === 1 ? (rare[Math.floor(index / 3) % rare.length] ?? good) : good;
    return { ...base, id: `${base.id}-${index + 1}` };
  });
  return { ...fixture('good'), submissions };
}

/** A report that has every part, with `text` in place of all text. */
export function poisoned(text: string): GradeReport {
  const { late } = only(fixture('late')).marks;
  const hostile = only(fixture('hostile'));
  const marks = { ...hostile.marks, ...(late === undefined ? {} : { late }) };
  const report = { ...fixture('canary-failed'), submissions: [{ ...hostile, marks }] };
  const keep = new Set(['schema', 'outcome', 'blame', 'when', 'started', 'deadline', 'handedIn']);
  const poison = (value: unknown, key = ''): unknown => {
    if (typeof value === 'string') return keep.has(key) ? value : text;
    if (Array.isArray(value)) return value.map((item) => poison(item));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, poison(item, name)]));
  };
  return poison(report) as GradeReport;
}
