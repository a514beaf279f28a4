import type { GuestProcess } from '../guest/process.js';
import { openWait, type Wait } from '../waits.js';
import { type CheckContext, CheckFailure } from './check.js';

/** Milliseconds in which a program ends once its input has ended. */
const ENDS = 3000;

/** A program that runs in the guest while a check goes on; its lines are kept, and can be waited for. */
export class LiveProgram implements AsyncDisposable {
  readonly lines: string[] = [];
  readonly #context: CheckContext;
  readonly #process: GuestProcess;
  readonly #what: string;
  readonly #reading: Promise<void>;
  #waiting: (() => void) | undefined;
  #over = false;

  /** @param command shell words; what it starts is killed when this is disposed */
  static async start(context: CheckContext, command: string): Promise<LiveProgram> {
    const process = await context.guest.spawn(`exec ${command}`, { signal: context.signal });
    return new LiveProgram(context, process, command);
  }

  private constructor(context: CheckContext, process: GuestProcess, what: string) {
    this.#context = context;
    this.#process = process;
    this.#what = what;
    this.#reading = this.#read();
    this.#reading.catch(() => {}); // a guest that died is seen by whoever waits
  }

  /**
   * Waits until `found` gives something for the lines so far.
   *
   * @param what is awaited, for the failure
   * @param timeout milliseconds, stretched as all deadlines are
   * @throws CheckFailure when it does not come in time, or the program ends before.
   */
  async until<T>(
    what: string,
    timeout: number,
    found: (lines: readonly string[]) => T | undefined,
  ): Promise<T> {
    const { signal, timeouts } = this.#context;
    const limit = timeout * timeouts.scale;
    const wait: Wait<T> = openWait<T>({
      what,
      timeout: limit,
      signal,
      onTimeout: () => this.#failure(`${what} did not come within ${(limit / 1000).toFixed(1)} s`),
      onEnd: () => {
        this.#waiting = undefined;
      },
    });
    const look = () => {
      const value = found(this.lines);
      if (value !== undefined) wait.resolve(value);
      else if (this.#over) wait.reject(this.#failure(`${this.#what} ended before ${what}`));
    };
    this.#waiting = look;
    look();
    return await wait.promise;
  }

  /** Closes its input and waits for its end. */
  async finish(): Promise<number> {
    this.#process.stdin.end();
    await this.#reading;
    const { signal, timeouts } = this.#context;
    return (await this.#process.wait({ signal, timeout: timeouts.guestCommand })).exitCode;
  }

  /** One line for its input. */
  say(line: string): void {
    this.#process.stdin.write(`${line}\n`);
  }

  /** Lets it end by itself, so that its files are closed; kills it when it does not. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { signal, timeouts } = this.#context;
    this.#process.stdin.end();
    const ended = this.#process.wait({ signal, timeout: ENDS * timeouts.scale });
    await ended.catch(() => {}); // whatever keeps it, the check has its verdict
    await this.#process[Symbol.asyncDispose]();
  }

  #failure(fact: string): CheckFailure {
    return new CheckFailure(fact, this.lines.slice(-10));
  }

  async #read(): Promise<void> {
    try {
      for await (const line of this.#process.lines()) {
        this.lines.push(line);
        this.#waiting?.();
      }
    } finally {
      this.#over = true;
      this.#waiting?.();
    }
  }
}
