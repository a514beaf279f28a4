import type { TimelineSpan } from './grade-report.js';

/** Records when the stages of one submission ran. */
export class Stages {
  readonly spans: TimelineSpan[] = [];
  readonly #started = performance.now();
  #feedback: number | undefined;

  async run<T>(stage: string, title: string, body: () => Promise<T>): Promise<T> {
    const start = this.#now();
    try {
      return await body();
    } finally {
      this.spans.push({ stage, title, start, end: this.#now() });
    }
  }

  /** From now on the student could be told something that a machine has shown. */
  feedback(): void {
    this.#feedback ??= this.#now();
  }

  /** Milliseconds by stage; `total`, and `feedback` once there was any. */
  get timings(): Record<string, number> {
    const times = this.spans.map(({ stage, start, end }) => [stage, end - start] as const);
    const feedback = this.#feedback === undefined ? {} : { feedback: this.#feedback };
    return { ...Object.fromEntries(times), ...feedback, total: this.#now() };
  }

  #now(): number {
    return Math.round(performance.now() - this.#started);
  }
}
