import { Deadline } from './deadline.js';
import { interrupted } from './errors.js';

export interface WaitOptions {
  /** What is awaited, as it stands in an error: `the reply to query-status`. */
  readonly what: string;
  /** Milliseconds until `onTimeout` supplies the error. */
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
  readonly onTimeout: () => Error;
  /** Runs once, however the wait ends; the place to unregister. */
  readonly onEnd?: () => void;
}

/** A promise with exactly one end: settled by its owner, by its deadline, or by its signal. */
export interface Wait<T> {
  readonly promise: Promise<T>;
  readonly done: boolean;
  resolve(value: T): void;
  reject(error: Error): void;
}

/** Opens a wait; whoever opens it must hand out `promise`, so that its failure is seen. */
export function openWait<T>(options: WaitOptions): Wait<T> {
  const { signal } = options;
  let done = false;
  let settle: { resolve: (value: T) => void; reject: (error: Error) => void } | undefined;
  const promise = new Promise<T>((resolve, reject) => {
    settle = { resolve, reject };
  });
  const end = (act: () => void) => {
    if (done) return;
    done = true;
    deadline.clear();
    signal?.removeEventListener('abort', onAbort);
    options.onEnd?.();
    act();
  };
  const onAbort = () => end(() => settle?.reject(interrupted(options.what)));
  const deadline = new Deadline(() => end(() => settle?.reject(options.onTimeout())), options.timeout);
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) onAbort();
  return {
    promise,
    get done() {
      return done;
    },
    resolve: (value) => end(() => settle?.resolve(value)),
    reject: (error) => end(() => settle?.reject(error)),
  };
}
