import { Console } from '../console/console.js';
import { follow } from '../host/follow.js';

/**
 * The console of a live machine: QEMU writes the file, this follows it from a given byte on and feeds the reader.
 * A client that attaches to the console's socket disturbs neither.
 */
export class ConsoleLog implements AsyncDisposable {
  readonly console: Console;
  readonly path: string;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  /** `from` is the first byte to read; `end` skips what is there already. The file must exist. */
  constructor(path: string, from: number | 'end') {
    this.path = path;
    this.console = new Console();
    this.#done = this.#pump(from);
  }

  async #pump(from: number | 'end'): Promise<void> {
    for await (const chunk of follow(this.path, { from, signal: this.#stop.signal }))
      this.console.push(chunk);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#done;
    this.console.end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
