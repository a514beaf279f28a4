import { describe, expect, test } from 'vitest';
import { CheckFailure } from '../../src/lab/check.js';
import { loadLab } from '../../src/lab/registry.js';
import { roundsOf } from '../../src/labs/my-rng/checks/boot.js';
import { glibcRandom } from '../../src/labs/my-rng/glibc-random.js';
import { parseEvents } from '../../src/labs/my-rng/probe.js';

describe('glibcRandom', () => {
  test('gives the numbers that the exercise names', () => {
    expect(glibcRandom(0x42, 5)).toEqual([286129175, 1594929109, 971802288, 222134722, 1335014133]);
    expect(glibcRandom(0, 5)).toEqual([1804289383, 846930886, 1681692777, 1714636915, 1957747793]);
    expect(glibcRandom(1, 5)).toEqual(glibcRandom(0, 5));
  });

  test('of large seeds as glibc 2.36 gives them', () => {
    expect(glibcRandom(0x8000_0000, 3)).toEqual([1336741213, 1210407648, 1447044896]);
    expect(glibcRandom(0xffff_ffff, 3)).toEqual([254925627, 1205188300, 366127624]);
  });
});

describe('roundsOf', () => {
  test('is what application and boot test print', () => {
    expect(roundsOf(0).slice(4, 6)).toEqual(['Round 1 number 5: 1957747793', 'Round 2 number 1: 1804289383']);
  });
});

describe('parseEvents', () => {
  test('reads what the probe prints', () => {
    const text = '{"event":"start","subcommand":"read"}\n{"event":"numbers","error":null,"numbers":[1,2]}\n';
    expect(parseEvents(text)).toEqual([
      { event: 'start', subcommand: 'read' },
      { event: 'numbers', error: null, numbers: [1, 2] },
    ]);
  });

  test.each(['PASSED\n', '{"event":"numbers","numbers":["1"]}\n', '{"event":"won"}\n'])(
    'refuses what it never prints: %j',
    (text) => {
      expect(() => parseEvents(text)).toThrow(CheckFailure);
    },
  );
});

describe('the lab my-rng', () => {
  test('is valid, and an unknown name is answered with it', async () => {
    const lab = await loadLab('my-rng');
    expect(lab.checks.length).toBeGreaterThan(15);
    await expect(loadLab('my_rng')).rejects.toMatchObject({ code: 'lab/unknown', blame: 'user' });
  });
});
