import { chiSquare, equallyOften, type Finding } from './bit-tests.js';
import type { Sample } from './sample.js';

/** The low eight bits of the words equally often. Knuth, The Art of Computer Programming 2, 3.3.2 A. */
export function lowBytes({ words }: Sample): Finding {
  const counts = new Uint32Array(256);
  for (const word of words) counts[word & 0xff] = (counts[word & 0xff] ?? 0) + 1;
  return equallyOften(counts, words.length);
}

/** A word is "small" with this probability. */
const SMALL = 1 / 8;
/** Gaps from this length on are counted together. */
const LONG = 24;

/** How many words lie between one that is below an eighth of the range and the next. Knuth 2, 3.3.2 D. */
export function gaps({ words, width }: Sample): Finding {
  const limit = 2 ** width * SMALL;
  const counts = new Uint32Array(LONG + 1);
  let gap = 0;
  let total = 0;
  for (const word of words) {
    if (word >= limit) {
      gap += 1;
      continue;
    }
    const length = Math.min(gap, LONG);
    counts[length] = (counts[length] ?? 0) + 1;
    total += 1;
    gap = 0;
  }
  if (total === 0) return { statistic: Number.POSITIVE_INFINITY, p: 0 };
  const share = (length: number) => (1 - SMALL) ** length * (length === LONG ? 1 : SMALL);
  return fitted(counts, share, total);
}

/** Birthdays in a group, and days in a year, as powers of two. */
const BIRTHDAYS = 512;
const DAYS_BITS = 25;
/** How often 0, 1, 2, or more spacings of a group are equal to another one: Knuth's table for these two numbers. */
const EQUAL = [0.368801577, 0.369035243, 0.183471182, 0.078691997];

/**
 * Marsaglia's birthday spacings: the words of a group, sorted, as days of a year; how many of the distances between
 * neighbours occur more than once. Knuth 2, 3.3.2 J. Generators that add two earlier numbers fail it.
 */
export function birthdaySpacings({ words, width }: Sample): Finding {
  const counts = new Uint32Array(EQUAL.length);
  const groups = Math.floor(words.length / BIRTHDAYS);
  for (let group = 0; group < groups; group += 1) {
    const days = words.slice(group * BIRTHDAYS, (group + 1) * BIRTHDAYS);
    const equal = Math.min(equalSpacings(days.map((word) => word >>> (width - DAYS_BITS))), EQUAL.length - 1);
    counts[equal] = (counts[equal] ?? 0) + 1;
  }
  return fitted(counts, (index) => EQUAL[index] ?? 0, groups);
}

/** The last spacing leads around the end of the year. */
function equalSpacings(days: Uint32Array): number {
  days.sort();
  const spacings = days.map(
    (day, i) => (days[(i + 1) % days.length] ?? 0) - day + (i + 1 < days.length ? 0 : 2 ** DAYS_BITS),
  );
  spacings.sort();
  return spacings.reduce((count, spacing, i) => count + (i > 0 && spacing === spacings[i - 1] ? 1 : 0), 0);
}

function fitted(counts: Uint32Array, share: (index: number) => number, total: number): Finding {
  const statistic = counts.reduce((sum, count, index) => {
    const expected = total * share(index);
    return sum + (count - expected) ** 2 / expected;
  }, 0);
  return chiSquare(statistic, counts.length - 1);
}

/**
 * Two successive words that were there before: among as many as we look at, that happens once in millions of samples.
 * A block that is given out again is full of them. The number of coincidences is Poisson's.
 */
export function repeats({ words, width }: Sample): Finding {
  const seen = new Set<number>();
  const pairs = words.length - 1;
  // 53 bits are what a number holds exactly
  const high = Math.min(width, 53 - width);
  let again = 0;
  for (let i = 0; i < pairs; i += 1) {
    const pair = ((words[i] ?? 0) % 2 ** high) * 2 ** width + (words[i + 1] ?? 0);
    if (seen.has(pair)) again += 1;
    else seen.add(pair);
  }
  const mean = (pairs * (pairs - 1)) / 2 / 2 ** (high + width);
  return { statistic: again, p: poissonAtLeast(again, mean) };
}

function poissonAtLeast(count: number, mean: number): number {
  if (count === 0) return 1;
  let term = Math.exp(-mean);
  for (let k = 1; k <= count; k += 1) term *= mean / k;
  let sum = 0;
  for (let k = count; term > sum * 1e-15; k += 1) {
    sum += term;
    term *= mean / (k + 1);
  }
  return Math.min(1, sum);
}
