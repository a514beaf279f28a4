import type { Interval, Summary } from './report.js';

/** Resamples of a bootstrap. */
const RESAMPLES = 2000;
const CONFIDENCE = 0.95;

/**
 * The value below which a share of the others lies, interpolated between neighbours (Hyndman and Fan, type 7).
 *
 * @param share 0 to 1
 */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const place = (sorted.length - 1) * share;
  const below = sorted[Math.floor(place)] ?? Number.NaN;
  const above = sorted[Math.ceil(place)] ?? Number.NaN;
  return below + (above - below) * (place - Math.floor(place));
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Median and spread of one value per round. */
export function summarize(rounds: readonly number[]): Summary {
  const middle = median(rounds);
  return {
    median: middle,
    mad: median(rounds.map((value) => Math.abs(value - middle))),
    lowerQuartile: quantile(rounds, 0.25),
    upperQuartile: quantile(rounds, 0.75),
    min: Math.min(...rounds),
    max: Math.max(...rounds),
    rounds: [...rounds],
  };
}

/**
 * The ratio of the medians of two series of rounds, with its 95 % bootstrap interval (percentiles). Rounds are drawn
 * in pairs, because what else the host did met both of a round. The same input gives the same interval.
 */
export function ratio(values: readonly number[], yardstick: readonly number[]): Interval {
  const count = Math.min(values.length, yardstick.length);
  const random = mulberry32(count);
  const ratios = Array.from({ length: RESAMPLES }, () => {
    const drawn = Array.from({ length: count }, () => Math.floor(random() * count));
    return median(drawn.map((i) => values[i] ?? 0)) / median(drawn.map((i) => yardstick[i] ?? 0));
  });
  return {
    value: median(values) / median(yardstick),
    low: quantile(ratios, (1 - CONFIDENCE) / 2),
    high: quantile(ratios, (1 + CONFIDENCE) / 2),
  };
}

/** A small generator of numbers from 0 to 1: resampling wants no more, and always the same. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
