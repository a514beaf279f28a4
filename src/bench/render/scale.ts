/** A logarithmic axis: from where to where, and what its lines stand for. */
export interface LogScale {
  readonly from: number;
  readonly to: number;
  readonly ticks: readonly number[];
  /** Where a value lies, in pixels. */
  readonly at: (value: number) => number;
}

/** Covers all values in whole decades. `start` and `end` are pixels. */
export function decades(values: readonly number[], start: number, end: number): LogScale {
  const positive = values.filter((value) => value > 0);
  const low = Math.floor(Math.log10(Math.min(...positive)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...positive))));
  return logScale(10, low, high, 1, start, end);
}

/** Covers sizes that are powers of two, with a tick at every `step`-th power of four. */
export function powersOfFour(values: readonly number[], step: number, start: number, end: number): LogScale {
  const low = Math.floor(Math.log(Math.min(...values)) / Math.log(4));
  const high = Math.max(low + 1, Math.ceil(Math.log(Math.max(...values)) / Math.log(4)));
  return logScale(4, low, high, step, start, end);
}

function logScale(
  base: number,
  low: number,
  high: number,
  step: number,
  start: number,
  end: number,
): LogScale {
  const from = base ** low;
  const length = (high - low) * Math.log(base);
  const ticks = Array.from(
    { length: Math.floor((high - low) / step) + 1 },
    (_, i) => base ** (low + i * step),
  );
  const at = (value: number) => start + ((end - start) * Math.log(value / from)) / length;
  return { from, to: base ** high, ticks, at };
}
