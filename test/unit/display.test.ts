import { describe, expect, test } from 'vitest';
import { parsePaths } from '../../tasks/commands/cp.js';
import { bytes, duration, Progress } from '../../tasks/ui/progress.js';
import { verdictLine } from '../../tasks/ui/verdicts.js';

describe('Progress', () => {
  const at = (done: number) => ({ type: 'progress', step: 's', done, total: 100, unit: 'steps' }) as const;

  test('tells the time left from the recent rate', () => {
    const progress = new Progress();
    expect(progress.describe(at(0), 0)).toBe('0 of 100');
    expect(progress.describe(at(10), 2000)).toBe('10 of 100, 18 s left');
    expect(progress.describe(at(100), 20_000)).toBe('100 of 100, 0.0 s left');
  });

  test('forgets what it saw when the work begins again', () => {
    const progress = new Progress();
    progress.describe(at(90), 0);
    expect(progress.describe(at(1), 5000)).toBe('1 of 100');
  });

  test('without a total only says how far it is', () => {
    const event = { type: 'progress', step: 's', done: 3 * 1024 * 1024, unit: 'bytes' } as const;
    expect(new Progress().describe(event)).toBe('3.0 MiB');
  });
});

describe('verdictLine', () => {
  test('shows what a guest wrote without letting it drive the terminal', () => {
    const seen = {
      fact: 'it said \u001b]0;owned\u0007',
      proof: [],
      evidence: ['one\u001b[2J', 'two\nthree'],
    };
    const verdict = { id: 'a-check', title: 'a check', outcome: 'failed', duration: 1, ...seen } as const;
    expect(verdictLine(verdict)).toBe(
      '✗ a-check                    a check\n    failed: it said ^[]0;owned^G\n    | one\n    | two\n    | three\n',
    );
  });
});

describe('bytes and duration', () => {
  test.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1536, '1.5 KiB'],
    [5 * 1024 ** 3, '5.0 GiB'],
  ])('%d → %s', (count, text) => expect(bytes(count)).toBe(text));

  test.each([
    [340, '0.3 s'],
    [59_400, '59 s'],
    [59_700, '1 min 0 s'],
    [200_000, '3 min 20 s'],
  ])('%d → %s', (ms, text) => expect(duration(ms)).toBe(text));
});

describe('parsePaths', () => {
  test('tells the direction from the colon', () => {
    expect(parsePaths(['a', 'b', ':/root/'])).toEqual({ direction: 'put', from: ['a', 'b'], to: '/root/' });
    expect(parsePaths([':/var/log/x', '.'])).toEqual({ direction: 'get', from: '/var/log/x', to: '.' });
  });

  test.each([[['a']], [['a', 'b']], [[':/a', ':/b']], [[':/a', ':/b', 'c']]])('refuses %j', (paths) => {
    expect(() => parsePaths(paths)).toThrow(expect.objectContaining({ code: 'usage/cp' }));
  });
});
