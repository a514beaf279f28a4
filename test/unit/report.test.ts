import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { overall, type Report, tally, toJUnit } from '../../src/grade/report.js';
import type { Outcome, Verdict } from '../../src/lab/check.js';

function verdict(outcome: Outcome, more: Partial<Verdict> = {}): Verdict {
  return { id: `c-${outcome}`, title: 'a title', outcome, proof: [], evidence: [], duration: 12, ...more };
}

function report(checks: readonly Verdict[]): Report {
  return {
    schema: 'lab-test/1',
    lab: 'my-rng',
    machine: 'm',
    profile: 'course',
    variant: 'module',
    accelerator: 'tcg',
    started: '2026-01-02T03:04:05.000Z',
    duration: 1234,
    outcome: overall(checks),
    nonce: '00',
    made: { qemu: '10.0 <&"' },
    host: { cpus: 2, cpu: 'x', kernel: 'y', node: 'z' },
    checks,
  };
}

describe('overall', () => {
  test.each<[Outcome[], Outcome]>([
    [['passed', 'skipped'], 'passed'],
    [['passed', 'failed'], 'failed'],
    [['failed', 'timed-out', 'blocked'], 'timed-out'],
    [['failed', 'crashed', 'timed-out'], 'crashed'],
    [['crashed', 'error', 'passed'], 'error'],
    [[], 'error'],
  ])('%j → %s', (outcomes, expected) => {
    expect(overall(outcomes.map((outcome) => verdict(outcome)))).toBe(expected);
  });
});

describe('tally', () => {
  test('counts what occurs, gravest first', () => {
    const verdicts = (['passed', 'failed', 'passed'] as const).map((outcome) => verdict(outcome));
    expect(tally(verdicts)).toEqual([
      ['failed', 1],
      ['passed', 2],
    ]);
  });
});

describe('toJUnit', () => {
  test('counts failures, errors and skips apart', () => {
    const outcomes: Outcome[] = ['passed', 'failed', 'crashed', 'blocked', 'error', 'skipped'];
    const xml = toJUnit(report(outcomes.map((outcome) => verdict(outcome))));
    expect(xml).toContain('tests="6" failures="3" errors="1" skipped="1" time="1.234"');
    expect(xml.match(/<testcase /g)).toHaveLength(6);
  });

  test('holds any text without breaking the markup', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const xml = toJUnit(report([verdict('failed', { fact: text, evidence: [text], id: text })]));
        // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
        expect(xml).not.toMatch(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/);
        expect(xml.match(/</g)).toHaveLength(12);
      }),
    );
  });
});
