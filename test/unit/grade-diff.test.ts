import { describe, expect, test } from 'vitest';
import type { GradedLine, GradeReport } from '../../src/grade/grade-report.js';
import { describeDifferences, diffReports } from '../../src/grade/render/diff-reports.js';
import { fixture, fixtureNames, only } from '../support/grade-reports.js';

function withLine(report: GradeReport, id: string, change: Partial<GradedLine>): GradeReport {
  const submission = only(report);
  const lines = submission.lines.map((line) => (line.id === id ? { ...line, ...change } : line));
  return { ...report, submissions: [{ ...submission, lines }] };
}

describe('diffReports', () => {
  test.each(fixtureNames)('a report equals itself: %s', (name) => {
    expect(diffReports(fixture(name), fixture(name))).toEqual([]);
  });

  test('ignores times, paths and wording', () => {
    const report = fixture('bad');
    const submissions = report.submissions.map((submission) => ({
      ...submission,
      input: '/elsewhere',
      folder: 'other',
      timings: {},
      timeline: [],
      lines: submission.lines.map((line) => ({
        ...line,
        evidence: ['another seed'],
        fact: 'in other words',
        checks: line.checks.map((check) => ({ ...check, duration: 1, evidence: [] })),
      })),
    }));
    expect(diffReports(report, { ...report, started: 'later', duration: 0, submissions })).toEqual([]);
  });

  test('names the lines that are judged differently', () => {
    const before = fixture('good');
    const change = { outcome: 'failed', marks: 1, blame: 'submission' } as const;
    const after = withLine(before, 'device-registers', change);
    const expected = [
      'ada-lovelace, device-registers: outcome passed → failed',
      'ada-lovelace, device-registers: marks 2 → 1',
      'ada-lovelace, device-registers: blame nothing → submission',
    ];
    expect(describeDifferences(diffReports(before, after))).toEqual(expected);
  });

  test('names checks and penalties that differ', () => {
    const before = fixture('good');
    const checks = only(before).lines[2]?.checks.map((check) => ({ ...check, outcome: 'crashed' as const }));
    const after = withLine(before, 'device-registers', { checks: checks ?? [] });
    expect(describeDifferences(diffReports(before, after))).toEqual([
      'ada-lovelace, device-registers: check bare-offsets (student device, qtest) passed → crashed',
    ]);
    const late = {
      ...only(before),
      marks: { ...only(before).marks, late: only(fixture('late')).marks.late },
    };
    const penalised = { ...before, submissions: [late] } as GradeReport;
    expect(describeDifferences(diffReports(before, penalised))).toEqual(['ada-lovelace: final 12 → 9.6']);
  });

  test('names submissions that came or went', () => {
    const differences = diffReports(fixture('good'), fixture('crashed'));
    expect(describeDifferences(differences)).toEqual(['ada-lovelace: removed', 'grace-hopper: added']);
  });
});
