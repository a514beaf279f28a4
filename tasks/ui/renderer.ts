import type { StepEvent } from '../../src/events.js';

/** Renders the events of one piece of work on standard error; results belong to standard output. */
export interface Renderer {
  readonly emit: (event: StepEvent) => void;
  /** All work is over. Resolves when the last line is out. */
  finish(): Promise<void>;
}
