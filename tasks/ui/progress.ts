import type { StepEvent } from '../../src/events.js';

type ProgressEvent = Extract<StepEvent, { type: 'progress' }>;

/** Turns progress events of one step into text with the time left, from the rate of the last half minute. */
export class Progress {
  readonly #samples: { readonly at: number; readonly done: number }[] = [];

  /** E.g. `412 of 1145, 1 min 20 s left`. `at` is in milliseconds of any clock. */
  describe(event: ProgressEvent, at = performance.now()): string {
    const last = this.#samples.at(-1);
    if (last !== undefined && event.done < last.done) this.#samples.length = 0; // it began again
    this.#samples.push({ at, done: event.done });
    while (this.#samples.length > 2 && at - (this.#samples[0]?.at ?? at) > 30_000) this.#samples.shift();
    const { done, total, unit } = event;
    const show = (value: number) => (unit === 'bytes' ? bytes(value) : String(value));
    if (total === undefined) return show(done);
    const left = this.#left(total);
    return `${show(done)} of ${show(total)}${left === undefined ? '' : `, ${duration(left)} left`}`;
  }

  #left(total: number): number | undefined {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.at - first.at < 1000) return undefined;
    const rate = (last.done - first.done) / (last.at - first.at);
    return rate > 0 ? Math.max(0, total - last.done) / rate : undefined;
  }
}

/** Bytes in the largest binary unit that keeps the number at 1 or more. */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, count < 1 ? 0 : Math.floor(Math.log2(count) / 10));
  return `${(count / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}

/** Milliseconds as a person says them: `0.4 s`, `12 s`, `3 min 20 s`. */
export function duration(milliseconds: number): string {
  const seconds = milliseconds / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
