import { Deadline } from '../deadline.js';
import { interrupted, type LabError } from '../errors.js';

export interface StopOptions {
  /** What is being done, for the error of an interruption. */
  readonly what: string;
  /** Milliseconds; none when absent. */
  readonly timeout?: number | undefined;
  readonly onTimeout: () => LabError;
  /** The caller's wish to end it. */
  readonly signal?: AbortSignal | undefined;
  /** Aborts with a `LabError` as its reason: the thing worked on is gone. */
  readonly death?: AbortSignal | undefined;
  /** Rejects when going on is pointless; its reason is passed on as it is. */
  readonly fatal?: Promise<never> | undefined;
}

/** Everything that can end one operation early, as one signal. Dispose it when the operation is over. */
export class Stop implements Disposable {
  readonly #controller = new AbortController();
  readonly #options: StopOptions;
  readonly #onAbort = () => this.#controller.abort(interrupted(this.#options.what));
  readonly #onDeath = () => this.#controller.abort(this.#options.death?.reason);
  #deadline: Deadline | undefined;

  constructor(options: StopOptions) {
    this.#options = options;
    const { signal, death, fatal } = options;
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    death?.addEventListener('abort', this.#onDeath, { once: true });
    fatal?.catch((reason: unknown) => this.#controller.abort(reason));
    if (death?.aborted) this.#onDeath();
    else if (signal?.aborted) this.#onAbort();
    this.touch();
  }

  /** Aborted with the error that the operation must end with. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Starts the deadline anew: there was progress. */
  touch(): void {
    this.#deadline?.clear();
    const { timeout, onTimeout } = this.#options;
    if (timeout === undefined || this.signal.aborted) return;
    this.#deadline = new Deadline(() => this.#controller.abort(onTimeout()), timeout);
  }

  /** Settles as `work` does, or rejects at once with the reason of the stop. */
  race<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const onStop = () => reject(this.signal.reason);
      if (this.signal.aborted) onStop();
      this.signal.addEventListener('abort', onStop, { once: true });
      const done = () => this.signal.removeEventListener('abort', onStop);
      work.then(resolve, reject).finally(done);
    });
  }

  [Symbol.dispose](): void {
    this.#deadline?.clear();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#options.death?.removeEventListener('abort', this.#onDeath);
  }
}
