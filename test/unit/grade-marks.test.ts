import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { finalMarks, lateness, outcomeOf, sumMarks } from '../../src/grade/marks.js';
import type { Outcome } from '../../src/lab/check.js';

function line(outcome: Outcome, marks: number, max: number) {
  return { outcome, marks, max };
}

describe('sumMarks', () => {
  test('adds what was judged and keeps apart what a person marks', () => {
    const lines = [line('passed', 1, 1), line('failed', 1, 3), line('blocked', 0, 2), line('skipped', 0, 5)];
    expect(sumMarks(lines)).toEqual({ got: 2, max: 11, open: 5 });
  });

  test('gives nothing for a line that the host could not judge', () => {
    expect(sumMarks([line('error', 3, 3), line('passed', 2, 2)])).toEqual({ got: 2, max: 5, open: 0 });
  });

  test('adds fractions exactly to the hundredth', () => {
    expect(sumMarks([line('failed', 0.1, 1), line('failed', 0.2, 1)]).got).toBe(0.3);
  });

  test('applies the late penalty to what was got', () => {
    const late = lateness(new Date('2026-03-01T00:00:00Z'), new Date('2026-03-03T00:00:01Z'), 'a test');
    const marks = sumMarks([line('passed', 12, 12)], late);
    expect(marks.late).toMatchObject({ days: 3, factor: 0.7, got: 8.4 });
    expect(finalMarks(marks)).toBe(8.4);
  });
});

describe('lateness', () => {
  const deadline = new Date('2026-03-01T22:59:59Z');
  const later = (milliseconds: number) => new Date(deadline.getTime() + milliseconds);
  const day = 86_400_000;

  test.each([
    [-day, 0, 1],
    [0, 0, 1],
    [1, 1, 0.9],
    [day, 1, 0.9],
    [day + 1, 2, 0.8],
    [9 * day + 1, 10, 0],
    [40 * day, 40, 0],
  ])('%d ms after the deadline: %d days, factor %d', (milliseconds, days, factor) => {
    expect(lateness(deadline, later(milliseconds), 'a test')).toEqual({
      deadline: '2026-03-01T22:59:59.000Z',
      handedIn: later(milliseconds).toISOString(),
      source: 'a test',
      days,
      factor,
    });
  });

  test('never takes more than all, and never gives', () => {
    fc.assert(
      fc.property(fc.integer({ min: -400 * day, max: 400 * day }), (milliseconds) => {
        const { factor } = lateness(deadline, later(milliseconds), '');
        expect(factor).toBeGreaterThanOrEqual(0);
        expect(factor).toBeLessThanOrEqual(1);
      }),
    );
  });
});

describe('outcomeOf', () => {
  test.each<[Outcome[], Outcome]>([
    [['passed', 'skipped'], 'passed'],
    [['skipped'], 'skipped'],
    [['passed', 'blocked'], 'blocked'],
    [['blocked', 'failed', 'passed'], 'failed'],
    [['failed', 'timed-out'], 'timed-out'],
    [['timed-out', 'crashed'], 'crashed'],
    [['crashed', 'error'], 'error'],
  ])('%j → %s', (outcomes, expected) => {
    expect(outcomeOf(outcomes.map((outcome) => ({ outcome })))).toBe(expected);
  });
});
