import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { failedTests, LEAST_BYTES, runBattery } from '../../src/labs/my-rng/battery/battery.js';
import {
  autocorrelation,
  blockFrequency,
  monobit,
  poker,
  runs,
  serial,
} from '../../src/labs/my-rng/battery/bit-tests.js';
import { sampleOf } from '../../src/labs/my-rng/battery/sample.js';
import { chiSquareTails, erfc, gammaTails } from '../../src/labs/my-rng/battery/special.js';
import { gaps } from '../../src/labs/my-rng/battery/word-tests.js';
import { glibcRandom } from '../../src/labs/my-rng/glibc-random.js';

const bitsOf = (text: string) => [...text.replaceAll(' ', '')].map(Number);

/** The first 100 bits of pi, the example of several sections of NIST SP 800-22. */
const PI = bitsOf(
  '11001001000011111101101010100010001000010110100011 00001000110100110001001100011001100010100010111000',
);

/** Example 5.31 of the Handbook of Applied Cryptography: 160 bits that are not random. */
const REPLICATED = bitsOf('11100 01100 01000 10100 11101 11100 10010 01001'.repeat(4));

describe('special functions', () => {
  test('the tails of chi-square are those of published tables', () => {
    // Knuth 2, 3.3.1, table 1
    expect(chiSquareTails(30.58, 15).upper).toBeCloseTo(0.01, 4);
    expect(chiSquareTails(25, 15).upper).toBeCloseTo(0.05, 3);
    expect(chiSquareTails(0.0201, 2).lower).toBeCloseTo(0.01, 4);
    expect(chiSquareTails(5.229, 15).lower).toBeCloseTo(0.01, 4);
    expect(chiSquareTails(76.15, 50).upper).toBeCloseTo(0.01, 4);
  });

  test('the poker test of FIPS 140-2 accepts all but one sample in ten thousand', () => {
    expect(chiSquareTails(46.17, 15).upper + chiSquareTails(2.16, 15).lower).toBeCloseTo(1e-4, 5);
  });

  test('far tails keep their precision', () => {
    // Abramowitz and Stegun, table 7.3: erfc(5), erfc(10)
    expect(erfc(5) / 1.5374597944280349e-12).toBeCloseTo(1, 10);
    expect(erfc(10) / 2.088487583762545e-45).toBeCloseTo(1, 10);
    expect(erfc(0)).toBe(1);
    expect(gammaTails(3, 0)).toEqual({ lower: 0, upper: 1 });
    // Q(1, x) is exp(-x)
    for (const x of [0.1, 1, 5, 50, 500]) expect(gammaTails(1, x).upper / Math.exp(-x)).toBeCloseTo(1, 10);
  });
});

describe('published examples', () => {
  test('NIST SP 800-22: monobit, block frequency, runs', () => {
    expect(monobit(PI).p).toBeCloseTo(0.109599, 6);
    expect(runs(PI)).toMatchObject({ statistic: 52 });
    expect(runs(PI).p).toBeCloseTo(0.500798, 6);
    const blocks = blockFrequency(PI, 10);
    expect(blocks.statistic).toBeCloseTo(7.2, 10);
    expect(chiSquareTails(blocks.statistic, 10).upper).toBeCloseTo(0.706438, 6);
  });

  test('NIST SP 800-22: serial', () => {
    const [first, second] = serial(bitsOf('0011011101'), 3);
    expect(first.statistic).toBeCloseTo(1.6, 10);
    expect(second.statistic).toBeCloseTo(0.8, 10);
    expect(chiSquareTails(first.statistic, 4).upper).toBeCloseTo(0.808792, 6);
    expect(chiSquareTails(second.statistic, 2).upper).toBeCloseTo(0.67032, 6);
  });

  test('Handbook of Applied Cryptography: frequency, poker, autocorrelation', () => {
    expect(monobit(REPLICATED).statistic ** 2).toBeCloseTo(0.4, 10);
    expect(poker(REPLICATED, 3).statistic).toBeCloseTo(9.6415, 4);
    // of the distances up to 8, the example's own is the worst
    expect(autocorrelation(REPLICATED, 8).statistic).toBeCloseTo(3.8933, 4);
  });
});

describe('samples', () => {
  test('words are little-endian, bits begin with the most significant, and bits above the width go', () => {
    const { words, bits } = sampleOf(Uint8Array.from([1, 0, 0, 0xc0, 0xff, 0xff, 0xff, 0xff, 7]), 31);
    expect([...words]).toEqual([0x4000_0001, 0x7fff_ffff]);
    expect([...bits.subarray(0, 31)].join('')).toBe(`1${'0'.repeat(29)}1`);
    expect(bits).toHaveLength(62);
  });

  test('too few bytes, and widths that leave no birthdays, are refused', () => {
    expect(() => runBattery(randomBytes(LEAST_BYTES - 1), 32)).toThrow(RangeError);
    expect(() => runBattery(randomBytes(LEAST_BYTES), 24)).toThrow(RangeError);
    expect(() => runBattery(randomBytes(LEAST_BYTES), 33)).toThrow(RangeError);
  });
});

const SIZE = LEAST_BYTES;

/** Words made by a recurrence. */
function made(next: (index: number) => number, size = SIZE): Buffer {
  const bytes = Buffer.alloc(size);
  for (let i = 0; i < size / 4; i += 1) bytes.writeUInt32LE(next(i) >>> 0, i * 4);
  return bytes;
}

/** SHA-256 in counter mode: a good generator that is the same in every run. */
function hashed(label: string, size = SIZE): Buffer {
  const blocks = Array.from({ length: size / 32 }, (_, i) =>
    createHash('sha256').update(`${label} ${i}`).digest(),
  );
  return Buffer.concat(blocks);
}

const randu = () => {
  let x = 1;
  return () => {
    x = Number((65539n * BigInt(x)) % 2147483648n);
    return x;
  };
};

describe('the battery', () => {
  test('passes good generators, of 32 and of 31 bits', () => {
    for (const label of ['a', 'b']) {
      expect(failedTests(runBattery(hashed(label), 32))).toEqual([]);
      expect(failedTests(runBattery(hashed(label), 31))).toEqual([]);
    }
  });

  test('alarms falsely less than once in a million samples', () => {
    const { falseAlarm, threshold, tests } = runBattery(hashed('a'), 32);
    expect(falseAlarm).toBeLessThanOrEqual(1e-6);
    expect(threshold * tests.length).toBeCloseTo(falseAlarm, 12);
    expect(new Set(tests.map(({ id }) => id)).size).toBe(tests.length);
  });

  test('p-values of good samples are spread evenly: none of the tests always says 1', () => {
    const samples = Array.from({ length: 10 }, (_, i) => runBattery(hashed(`spread ${i}`), 32).tests);
    for (const [index, { id }] of (samples[0] ?? []).entries()) {
      if (id === 'repeats') continue; // nothing repeats, ever
      const values = samples.map((tests) => tests[index]?.p ?? 0);
      expect(Math.min(...values), id).toBeLessThan(0.4);
      expect(Math.max(...values), id).toBeGreaterThan(0.6);
    }
  });

  test.each([
    ['a constant', made(() => 0x5a5a5a5a), 'low-bytes'],
    ['zeros', Buffer.alloc(SIZE), 'monobit'],
    ['a counter', made((i) => i), 'birthday-spacings'],
    ['a counter whose bytes are spread evenly', made((i) => Math.imul(i, 0x01010101)), 'low-bytes'],
    [
      "RANDU's low bits",
      made(
        (
          (next) => () =>
            (next() << 16) | (next() & 0xffff)
        )(randu()),
      ),
      'low-bytes',
    ],
    ['a repeated block', Buffer.concat(Array(SIZE / 4096).fill(hashed('block', 4096))), 'repeats'],
    [
      'a block given out twice',
      Buffer.concat([hashed('x', SIZE), hashed('y', 1024), hashed('y', 1024)]),
      'repeats',
    ],
    [
      'one bit that is set too often',
      made(
        (
          (bytes) => (i) =>
            bytes.readUInt32LE(i * 4) | (i % 8 === 0 ? 1 : 0)
        )(hashed('bit')),
      ),
      'low-bytes',
    ],
    [
      'bits that are copies of those before',
      made(
        (
          (bytes) => (i) =>
            bytes.readUInt16LE(i * 4) * 0x10001
        )(hashed('copy')),
      ),
      'autocorrelation',
    ],
  ])('fails %s', (_, bytes, by) => {
    expect(failedTests(runBattery(bytes, 32))).toContain(by);
  });

  test("the C library's numbers have 31 bits: as 32 they fail, as 31 only for what the sum of two earlier ones does", () => {
    const numbers = glibcRandom(1, SIZE / 4);
    const bytes = made((i) => numbers[i] ?? 0);
    expect(failedTests(runBattery(bytes, 32))).toContain('monobit');
    expect(failedTests(runBattery(bytes, 31))).toEqual(['birthday-spacings']);
  });

  test('a generator that never gives a small number has no gaps', () => {
    expect(
      gaps(
        sampleOf(
          made(() => 0xffff_ffff),
          32,
        ),
      ),
    ).toMatchObject({ p: 0 });
  });
});
