import type { StepContext, StepEvent } from '../../src/events.js';
import { PlainDisplay } from './plain.js';
import type { Renderer } from './renderer.js';
import { Timeline } from './timeline.js';

export interface DisplayOptions {
  /** Ids and titles of the steps that may run, in the order in which they are listed. */
  readonly steps: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** Print the time line at the end. */
  readonly timing: boolean;
}

/**
 * Runs `work` with a display that fits standard error: tasks with progress on a terminal, plain timestamped lines
 * elsewhere and where `CI` is set. `work` may end the display early with `finish`, to print by itself.
 */
export async function withDisplay<T>(
  options: DisplayOptions,
  work: (context: StepContext, finish: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const display = await makeDisplay(options);
  const timeline = new Timeline();
  const emit = (event: StepEvent) => {
    timeline.add(event);
    display.emit(event);
  };
  let over = false;
  const finish = async () => {
    if (over) return;
    over = true;
    await display.finish();
    if (options.timing) process.stderr.write(timeline.format(options.steps));
  };
  try {
    return await work({ signal: options.signal, emit }, finish);
  } finally {
    await finish();
  }
}

async function makeDisplay({ steps }: DisplayOptions): Promise<Renderer> {
  if (!isInteractive()) return new PlainDisplay();
  const { LiveDisplay } = await import('./live.js');
  return new LiveDisplay(steps);
}

/** Whether a person watches: both outputs are a terminal that can move its cursor, and this is not CI. */
export function isInteractive(): boolean {
  return Boolean(
    process.stderr.isTTY && process.stdout.isTTY && !process.env.CI && process.env.TERM !== 'dumb',
  );
}
