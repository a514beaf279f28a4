/** Milliseconds between two looks at the clock. */
const BEAT = 500;

let beat: NodeJS.Timeout | undefined;
let last = 0;
/** Milliseconds in which this process could not run; only differences mean something. */
let lost = 0;

function look(): void {
  const now = performance.now();
  const gap = now - last;
  // when in it we were stopped is not known
  if (gap > 2 * BEAT) lost += gap;
  last = now;
}

/**
 * Calls `late` once, after `ms` milliseconds in which this process could run: while it is stopped, by Ctrl-Z or with
 * its whole host, it cannot take what it waits for, and nobody else is late. Holds the process as a timer does.
 */
export class Deadline {
  readonly #late: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(late: () => void, ms: number) {
    this.#late = late;
    if (beat === undefined) beat = setInterval(look, BEAT).unref();
    look();
    this.#arm(ms);
  }

  #arm(ms: number): void {
    const from = { now: performance.now(), lost };
    this.#timer = setTimeout(() => {
      look();
      const left = ms - (performance.now() - from.now - (lost - from.lost));
      if (left >= 1) return this.#arm(left);
      this.#late();
    }, ms);
  }

  /** Ends it; harmless when it is over. */
  clear(): void {
    clearTimeout(this.#timer);
  }
}

/** Settles as `work` does, or as `late` when that takes longer than `ms` milliseconds, counted as a deadline's. */
export async function inTime<T, L>(work: Promise<T>, ms: number, late: () => L): Promise<T | L> {
  let deadline: Deadline | undefined;
  const over = new Promise<void>((resolve) => {
    deadline = new Deadline(resolve, ms);
  });
  try {
    return await Promise.race([work, over.then(late)]);
  } finally {
    deadline?.clear();
  }
}
