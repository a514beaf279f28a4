import type { StepEvent } from '../../src/events.js';
import { bytes } from './progress.js';

interface Span {
  readonly step: string;
  readonly from: number;
  to: number;
}

/** Remembers when each step began and ended, counted from the start of the process. */
export class Timeline {
  readonly #spans: Span[] = [];

  add(event: StepEvent): void {
    if (event.type === 'start')
      this.#spans.push({ step: event.step, from: performance.now(), to: Number.NaN });
    if (event.type !== 'end') return;
    const span = this.#spans.findLast(({ step, to }) => step === event.step && Number.isNaN(to));
    if (span !== undefined) span.to = performance.now();
  }

  /** A table: when each step began and how long it took, in seconds. */
  format(titles: Readonly<Record<string, string>>): string {
    const rows = this.#spans.map(({ step, from, to }) => {
      const title = (titles[step] ?? step).padEnd(32);
      return `${title}${seconds(from)}${Number.isNaN(to) ? '  not ended' : seconds(to - from)}\n`;
    });
    const head = `\n${'step'.padEnd(32)}${'at (s)'.padStart(10)}${'took (s)'.padStart(10)}\n`;
    const all = `${'all'.padEnd(32)}${seconds(0)}${seconds(performance.now())}\n`;
    const memory = `${'memory of this process, highest'.padEnd(32)}${bytes(process.resourceUsage().maxRSS * 1024)}\n`;
    return `${head}${rows.join('')}${all}${memory}`;
  }
}

function seconds(milliseconds: number): string {
  return (milliseconds / 1000).toFixed(3).padStart(10);
}
