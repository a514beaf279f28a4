import type { Interval } from '../report.js';

/** Three significant digits without an exponent: `0.0123`, `1.23`, `12.3`, `1230`. */
export function digits(value: number): string {
  if (value === 0) return '0';
  const rounded = Number(value.toPrecision(3));
  const magnitude = Math.floor(Math.log10(Math.abs(rounded)) + 1e-9);
  return rounded.toFixed(Math.min(6, Math.max(0, 2 - magnitude)));
}

const LARGE = ['', 'k', 'M', 'G', 'T'];

/** With a decimal prefix: `832 k`, `3.33 M`. */
export function large(value: number, unit: string): string {
  const power = Math.min(
    LARGE.length - 1,
    Math.max(0, Math.floor(Math.log10(Math.max(1, value) * 1.0005) / 3)),
  );
  return `${digits(value / 1000 ** power)} ${LARGE[power]}${unit}`.trimEnd();
}

/** Bytes per second: `3.33 MB/s`. */
export function rate(bytesPerSecond: number): string {
  return large(bytesPerSecond, 'B/s');
}

/** A line of an axis: `10 MB/s`. */
export function tick(bytesPerSecond: number): string {
  return rate(bytesPerSecond).replace(/\.0+(?= )/, '');
}

/** A size of a request: `4 B`, `64 KiB`, `1 MiB`. */
export function sizeText(bytes: number): string {
  if (bytes >= 1024 ** 2 && bytes % 1024 ** 2 === 0) return `${bytes / 1024 ** 2} MiB`;
  if (bytes >= 1024 && bytes % 1024 === 0) return `${bytes / 1024} KiB`;
  return `${bytes} B`;
}

/** A time: `950 ns`, `1.07 µs`, `12.3 ms`. */
export function span(nanoseconds: number): string {
  if (Math.abs(nanoseconds) < 999.5) return `${digits(nanoseconds)} ns`;
  if (Math.abs(nanoseconds) < 999_500) return `${digits(nanoseconds / 1000)} µs`;
  if (Math.abs(nanoseconds) < 999_500_000) return `${digits(nanoseconds / 1e6)} ms`;
  return `${digits(nanoseconds / 1e9)} s`;
}

/** `1.98 ×`. */
export function times(value: number): string {
  return `${digits(value)} ×`;
}

/** `1.95 to 2.01`. */
export function range({ low, high }: Interval): string {
  return `${digits(low)} to ${digits(high)}`;
}

/** A share of one as percent: `7.3 %`, `66 %`. */
export function percent(share: number): string {
  return `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)} %`;
}
