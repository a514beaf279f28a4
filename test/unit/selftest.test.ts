import { expect, test } from 'vitest';
import type { GradedSubmission } from '../../src/grade/grade-report.js';
import { compare, type SelftestReport } from '../../src/grade/selftest.js';
import { describeSelftest } from '../../tasks/ui/selftest.js';
import { fixture, only } from '../support/grade-reports.js';

function compared(graded: GradedSubmission, line: string) {
  return compare({ name: 'example', kind: 'good', expect: { [line]: 'passed' } }, graded);
}

function told(fixtures: SelftestReport['fixtures']): string[] {
  const none = { traces: [], neverFailed: [], unstable: [], runs: 1, duration: 1000 };
  return describeSelftest({ schema: 'lab-selftest/1', lab: 'a lab', fixtures, ...none });
}

test('a wrong verdict is told with what its checks saw, and nothing of it reaches the terminal raw', () => {
  const bad = only(fixture('bad'));
  const failing = bad.lines.find(({ outcome, checks }) => outcome === 'failed' && checks.length > 0);
  if (failing === undefined) throw new Error('no line of the report failed');
  const lines = failing.checks.map((check) =>
    check.outcome === 'failed' ? { ...check, evidence: ['one\u001b[2J\u0007', 'two\nthree'] } : check,
  );
  const graded = { ...bad, lines: [{ ...failing, fact: 'three\u0007', checks: lines }] };
  const text = told([compared(graded, failing.id)]).join('\n');
  const id = lines.find(({ outcome }) => outcome === 'failed')?.id ?? '';
  expect(text).toContain(`good/example: ${failing.id}: expected passed, got failed: three^G\n`);
  expect(text).toContain(`    | ${id}: one^G\n    | ${id}: two\n    | ${id}: three\n`);
  expect(text).toContain('0 of 1 fixtures as expected (good 0/1');
});

test('a right one is only counted', () => {
  const good = only(fixture('good'));
  const [line] = good.lines.filter(({ outcome }) => outcome === 'passed');
  expect(told([compared(good, line?.id ?? '')])).toEqual([
    '1 of 1 fixtures as expected (good 1/1, bad 0/0, hostile 0/0), 0 traces outside of the sandbox, 1 run, 1 s',
  ]);
});
