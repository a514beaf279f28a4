import type { StepEvent } from '../../src/events.js';

import { duration, Progress } from './progress.js';
import type { Renderer } from './renderer.js';

/** Milliseconds between two progress lines of one step. */
const EVERY = 15_000;

interface Running {
  readonly title: string;
  readonly began: number;
  readonly progress: Progress;
  shown: number;
}

/** Plain timestamped lines, for logs and pipes: nothing is overwritten, no control characters. */
export class PlainDisplay implements Renderer {
  readonly #running = new Map<string, Running>();

  readonly emit = (event: StepEvent): void => {
    const now = performance.now();
    const running = this.#running.get(event.step);
    switch (event.type) {
      case 'start':
        this.#running.set(event.step, {
          title: event.title,
          began: now,
          progress: new Progress(),
          shown: now,
        });
        this.#line(event.title);
        break;
      case 'progress': {
        if (running === undefined) break;
        const text = running.progress.describe(event, now);
        if (now - running.shown < EVERY) break;
        running.shown = now;
        this.#line(`${running.title}: ${text}`);
        break;
      }
      case 'note':
        this.#line(`${running?.title ?? event.step}: ${event.text}`);
        break;
      case 'end':
        this.#end(event, running, now);
        break;
      case 'output':
        break; // it stands in the step's log
    }
  };

  async finish(): Promise<void> {}

  #end(event: Extract<StepEvent, { type: 'end' }>, running: Running | undefined, now: number): void {
    const detail = event.detail === undefined ? '' : ` (${event.detail})`;
    const outcome = { done: 'done', cached: 'from the cache', failed: 'failed' }[event.outcome];
    this.#line(
      `${running?.title ?? event.step}: ${outcome}${detail}, ${duration(now - (running?.began ?? now))}`,
    );
    this.#running.delete(event.step);
  }

  #line(text: string): void {
    process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
  }
}
