import type { Readable, Writable } from 'node:stream';
import { LabError } from '../errors.js';
import { LineSplitter } from '../host/lines.js';
import type { Ended, Session } from './session.js';
import { Stop } from './stop.js';

export interface WaitOptions {
  /** Milliseconds; without it, as long as the command runs. */
  readonly timeout?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A command that runs in the guest while we do other things. What is not read makes the guest wait, after 2 MiB;
 * `wait()` throws away an output that nobody reads. Disposing kills the command.
 */
export class GuestProcess implements AsyncDisposable {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly #session: Session;
  readonly #death: AbortSignal;
  readonly #what: string;

  constructor(session: Session, death: AbortSignal, what: string) {
    this.#session = session;
    this.#death = death;
    this.#what = what;
    this.stdin = session.stdin;
    this.stdout = session.stdout;
    this.stderr = session.stderr;
  }

  /**
   * The lines of its standard output, for one reader; who leaves the loop early gets no more of them.
   *
   * @throws LabError `guest/lost` and the like when the connection ends before the output does.
   */
  async *lines(): AsyncGenerator<string> {
    discardUnread(this.stderr);
    const ready: string[] = [];
    const splitter = new LineSplitter((line) => ready.push(line));
    try {
      for await (const chunk of this.stdout.iterator({ destroyOnReturn: false })) {
        splitter.push(chunk as Buffer);
        yield* ready.splice(0);
      }
      splitter.end();
      yield* ready;
    } finally {
      this.stdout.resume();
    }
    if (this.#death.aborted && this.#session.exit === undefined) throw this.#death.reason;
  }

  /**
   * How it ended, once all of its output was read.
   *
   * @throws LabError `guest/timeout` (it goes on running), `guest/lost`, `guest/closed`, `interrupted`.
   */
  async wait({ timeout, signal }: WaitOptions = {}): Promise<Ended> {
    discardUnread(this.stdout);
    discardUnread(this.stderr);
    const onTimeout = () => stillRuns(this.#what, timeout ?? 0);
    using stop = new Stop({ what: this.#what, timeout, onTimeout, signal, death: this.#death });
    return await stop.race(this.#session.ended);
  }

  /** Sends a signal, default `TERM`, to the command and all it started; settles when it was sent. */
  async kill(signal = 'TERM'): Promise<void> {
    await this.#session.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#session.exit === undefined) this.#session.abandon();
  }
}

/** Throws a stream away unless somebody has begun to read it. */
function discardUnread(stream: Readable): void {
  if (stream.readableFlowing === null) stream.resume();
}

function stillRuns(what: string, timeout: number): LabError {
  return new LabError({
    code: 'guest/timeout',
    blame: 'host',
    fact: `${what} still ran in the guest after ${(timeout / 1000).toFixed(1)} s`,
    next: 'look at the console for an oops or a hang: `lab logs`',
  });
}
