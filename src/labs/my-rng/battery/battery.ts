import { autocorrelation, blockFrequency, type Finding, monobit, poker, runs, serial } from './bit-tests.js';
import { type Sample, sampleOf } from './sample.js';
import { birthdaySpacings, gaps, lowBytes, repeats } from './word-tests.js';

/** The smallest sample for which the approximations of all tests hold: 65 536 words. */
export const LEAST_BYTES = 256 * 1024;

/** The probability that a perfect generator fails any test of one sample is below this. */
const FAMILY_WISE = 1e-6;

/** Patterns of this many bits for the serial test: far fewer than log2(bits) - 2. */
const SERIAL_BITS = 10;
const LAGS = 64;

interface BatteryTest {
  readonly id: string;
  readonly title: string;
  /** Where the test is defined. */
  readonly source: string;
  readonly run: (sample: Sample) => Finding;
}

const SP_800_22 = 'NIST SP 800-22 rev. 1a';
const KNUTH = 'Knuth, The Art of Computer Programming, vol. 2';

const TESTS: readonly BatteryTest[] = [
  {
    id: 'monobit',
    title: 'as many ones as zeros',
    source: `${SP_800_22}, 2.1`,
    run: ({ bits }) => monobit(bits),
  },
  {
    id: 'block-frequency',
    title: 'as many ones as zeros in each of 99 blocks',
    source: `${SP_800_22}, 2.2`,
    run: ({ bits }) => blockFrequency(bits, Math.floor(bits.length / 99)),
  },
  {
    id: 'runs',
    title: 'how often the bits change',
    source: `${SP_800_22}, 2.3`,
    run: ({ bits }) => runs(bits),
  },
  {
    id: 'serial-1',
    title: 'overlapping patterns of 10 bits, first difference',
    source: `${SP_800_22}, 2.11`,
    run: ({ bits }) => serial(bits, SERIAL_BITS)[0],
  },
  {
    id: 'serial-2',
    title: 'overlapping patterns of 10 bits, second difference',
    source: `${SP_800_22}, 2.11`,
    run: ({ bits }) => serial(bits, SERIAL_BITS)[1],
  },
  {
    id: 'poker',
    title: 'patterns of 4 bits equally often',
    source: 'FIPS 140-2, 4.9.1',
    run: ({ bits }) => poker(bits, 4),
  },
  {
    id: 'bytes',
    title: 'chi-square of the bytes',
    source: `${KNUTH}, 3.3.1`,
    run: ({ bits }) => poker(bits, 8),
  },
  {
    id: 'low-bytes',
    title: "chi-square of the words' low bytes",
    source: `${KNUTH}, 3.3.2 A`,
    run: lowBytes,
  },
  { id: 'gaps', title: 'gaps between words below an eighth', source: `${KNUTH}, 3.3.2 D`, run: gaps },
  {
    id: 'birthday-spacings',
    title: 'equal distances among 512 of 2^25 days',
    source: `Marsaglia; ${KNUTH}, 3.3.2 J`,
    run: birthdaySpacings,
  },
  {
    id: 'autocorrelation',
    title: `bits 1 to ${LAGS} apart differ half of the time`,
    source: 'Menezes et al., Handbook of Applied Cryptography, 5.4.4',
    run: ({ bits }) => autocorrelation(bits, LAGS),
  },
  {
    id: 'repeats',
    title: 'two successive words that were there before',
    source: 'collisions: Knuth, vol. 2, 3.3.2 I, with the Poisson distribution',
    run: repeats,
  },
];

/** A test with what it found. */
export interface TestResult extends Finding, Pick<BatteryTest, 'id' | 'title' | 'source'> {
  readonly passed: boolean;
}

export interface BatteryResult {
  readonly bytes: number;
  /** Bits of each 32-bit word that were looked at; those above are not random, and were dropped. */
  readonly width: number;
  readonly bits: number;
  /** A test fails when its p is below this. */
  readonly threshold: number;
  /** Upper bound of the probability that a perfect generator fails any of the tests: Bonferroni's. */
  readonly falseAlarm: number;
  readonly tests: readonly TestResult[];
}

/**
 * Looks whether bytes are random: little-endian 32-bit words of which `width` bits count. All p-values are two-sided,
 * and each is compared with the same threshold.
 *
 * @throws RangeError for less than `LEAST_BYTES`, or a width below 25, the bits that the birthdays take.
 */
export function runBattery(bytes: Uint8Array, width: number): BatteryResult {
  if (bytes.length < LEAST_BYTES) throw new RangeError(`the battery takes at least ${LEAST_BYTES} bytes`);
  if (!Number.isInteger(width) || width < 25 || width > 32) throw new RangeError(`a width of ${width} bits`);
  const sample = sampleOf(bytes, width);
  const threshold = FAMILY_WISE / TESTS.length;
  const tests = TESTS.map(({ id, title, source, run }): TestResult => {
    const { statistic, p } = run(sample);
    return { id, title, source, statistic, p, passed: p >= threshold };
  });
  const falseAlarm = threshold * TESTS.length;
  return { bytes: bytes.length, width, bits: sample.bits.length, threshold, falseAlarm, tests };
}

/** Ids of the tests that failed. */
export function failedTests({ tests }: BatteryResult): string[] {
  return tests.filter(({ passed }) => !passed).map(({ id }) => id);
}
