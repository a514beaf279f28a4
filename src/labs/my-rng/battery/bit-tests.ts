import { chiSquareTails, erfc } from './special.js';

/** What a test found. */
export interface Finding {
  readonly statistic: number;
  /** How probable a deviation this large is by chance, in either direction. */
  readonly p: number;
}

/** Bits, each 0 or 1. */
export type Bits = Uint8Array | readonly number[];

/** Both tails of a chi-square statistic: numbers that are spread too evenly are no more random than others. */
export function chiSquare(statistic: number, degrees: number): Finding {
  const { lower, upper } = chiSquareTails(statistic, degrees);
  return { statistic, p: Math.min(1, 2 * Math.min(lower, upper)) };
}

/** Of a statistic with the standard normal distribution. */
function normal(statistic: number): Finding {
  return { statistic, p: erfc(Math.abs(statistic) / Math.SQRT2) };
}

/** As many ones as zeros. NIST SP 800-22 rev. 1a, 2.1. */
export function monobit(bits: Bits): Finding {
  let ones = 0;
  for (const bit of bits) ones += bit;
  return normal((2 * ones - bits.length) / Math.sqrt(bits.length));
}

/** As many ones as zeros in each block of `size` bits. NIST SP 800-22 rev. 1a, 2.2. */
export function blockFrequency(bits: Bits, size: number): Finding {
  const blocks = Math.floor(bits.length / size);
  let sum = 0;
  for (let block = 0; block < blocks; block += 1) {
    let ones = 0;
    for (let i = block * size; i < (block + 1) * size; i += 1) ones += bits[i] ?? 0;
    sum += (ones / size - 0.5) ** 2;
  }
  return chiSquare(4 * size * sum, blocks);
}

/** How often the bits change. NIST SP 800-22 rev. 1a, 2.3; bits that fail `monobit` by far fail here as well. */
export function runs(bits: Bits): Finding {
  const n = bits.length;
  let ones = bits[0] ?? 0;
  let changes = 1;
  for (let i = 1; i < n; i += 1) {
    ones += bits[i] ?? 0;
    if (bits[i] !== bits[i - 1]) changes += 1;
  }
  const share = ones / n;
  const spread = share * (1 - share);
  if (Math.abs(share - 0.5) >= 2 / Math.sqrt(n)) return { statistic: changes, p: 0 };
  const p = erfc(Math.abs(changes - 2 * n * spread) / (2 * Math.sqrt(2 * n) * spread));
  return { statistic: changes, p };
}

/** All overlapping patterns of `length` bits equally often. NIST SP 800-22 rev. 1a, 2.11: its two differences. */
export function serial(bits: Bits, length: number): [Finding, Finding] {
  const [psi, psi1, psi2] = [length, length - 1, length - 2].map((m) => psiSquare(bits, m));
  const first = (psi ?? 0) - (psi1 ?? 0);
  const second = (psi ?? 0) - 2 * (psi1 ?? 0) + (psi2 ?? 0);
  return [chiSquare(first, 2 ** (length - 1)), chiSquare(second, 2 ** (length - 2))];
}

/** The sequence counts as a ring. */
function psiSquare(bits: Bits, length: number): number {
  if (length <= 0) return 0;
  const counts = new Uint32Array(2 ** length);
  const mask = counts.length - 1;
  let pattern = 0;
  for (let i = 0; i < length - 1; i += 1) pattern = (pattern << 1) | (bits[i] ?? 0);
  for (let i = length - 1; i < bits.length + length - 1; i += 1) {
    pattern = ((pattern << 1) | (bits[i % bits.length] ?? 0)) & mask;
    counts[pattern] = (counts[pattern] ?? 0) + 1;
  }
  const squares = counts.reduce((sum, count) => sum + count * count, 0);
  return (counts.length / bits.length) * squares - bits.length;
}

/** All patterns of `length` bits, side by side, equally often: the poker test of FIPS 140-2, 4.9.1, for any length. */
export function poker(bits: Bits, length: number): Finding {
  const counts = new Uint32Array(2 ** length);
  const hands = Math.floor(bits.length / length);
  for (let hand = 0; hand < hands; hand += 1) {
    let pattern = 0;
    for (let i = 0; i < length; i += 1) pattern = (pattern << 1) | (bits[hand * length + i] ?? 0);
    counts[pattern] = (counts[pattern] ?? 0) + 1;
  }
  return equallyOften(counts, hands);
}

/** Chi-square of counts that should all be the same. */
export function equallyOften(counts: Uint32Array, total: number): Finding {
  const expected = total / counts.length;
  const statistic = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  return chiSquare(statistic, counts.length - 1);
}

/**
 * Bits at a distance of 1 to `lags` differ half of the time: the largest deviation of all distances, as a standard
 * normal one, with the probability that any of them is as large. Menezes et al., Handbook of Applied Cryptography, 5.4.4.
 */
export function autocorrelation(bits: Bits, lags: number): Finding {
  const packed = pack(bits);
  let worst = 0;
  for (let lag = 1; lag <= lags; lag += 1) {
    const deviation = lagDeviation(packed, bits.length, lag);
    if (Math.abs(deviation) > Math.abs(worst)) worst = deviation;
  }
  const { p } = normal(worst);
  return { statistic: worst, p: -Math.expm1(lags * Math.log1p(-Math.min(p, 1 - 1e-16))) };
}

/** 32 bits a word, the earliest one the most significant. */
function pack(bits: Bits): Uint32Array {
  const words = new Uint32Array(Math.ceil(bits.length / 32) + 3);
  for (let i = 0; i < bits.length; i += 1) {
    words[i >>> 5] = (words[i >>> 5] ?? 0) | ((bits[i] ?? 0) << (31 - (i & 31)));
  }
  return words;
}

function lagDeviation(words: Uint32Array, length: number, lag: number): number {
  const pairs = length - lag;
  const [skip, shift] = [lag >>> 5, lag & 31];
  let differing = 0;
  for (let at = 0; at * 32 < pairs; at += 1) {
    const high = (words[at + skip] ?? 0) << shift;
    const low = shift === 0 ? 0 : (words[at + skip + 1] ?? 0) >>> (32 - shift);
    const left = pairs - at * 32;
    const mask = left >= 32 ? -1 : ~(-1 >>> left);
    differing += ones(((words[at] ?? 0) ^ (high | low)) & mask);
  }
  return (2 * (differing - pairs / 2)) / Math.sqrt(pairs);
}

function ones(word: number): number {
  let count = word - ((word >>> 1) & 0x5555_5555);
  count = (count & 0x3333_3333) + ((count >>> 2) & 0x3333_3333);
  return Math.imul((count + (count >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}
