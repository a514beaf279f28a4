import type { Duplex } from 'node:stream';

/** Sees every line that crosses a channel: `>` to the peer, `<` from it. Must not throw. */
export type ChannelLog = (direction: '>' | '<', line: string) => void;

export interface LineChannelOptions {
  readonly log?: ChannelLog | undefined;
  /** Bytes of the longest line the peer may send; a longer one ends the channel. */
  readonly longest: number;
  /** A whole line, without its newline. What it throws ends the channel with that as the reason. */
  readonly onLine: (line: string) => void;
  /** Called once, when no line will follow: the error, or `undefined` when the peer or we closed the stream. */
  readonly onEnd: (reason: Error | undefined) => void;
}

/**
 * Lines of UTF-8 over a byte stream, in both directions. Reads from the moment it is made. Owns the stream: the
 * stream is destroyed when the channel ends.
 */
export class LineChannel {
  readonly #stream: Duplex;
  readonly #options: LineChannelOptions;
  readonly #splitter: ByteLines;
  #queue: string[] = [];
  #flushing = false;
  #ended = false;

  constructor(stream: Duplex, options: LineChannelOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#splitter = new ByteLines(options.longest, (line) => this.#receive(line));
    stream.on('data', (chunk: Buffer | string) => this.#read(chunk));
    stream.on('error', (error: Error) => this.end(error));
    stream.on('end', () => this.end(undefined));
    stream.on('close', () => this.end(undefined));
    if (stream.destroyed) queueMicrotask(() => this.end(undefined)); // its `close` may be over already
  }

  /** Queues one line. What the peer does not accept yet waits here, in order; what follows the end is dropped. */
  send(line: string): void {
    if (this.#ended) return;
    this.#options.log?.('>', line);
    this.#queue.push(`${line}\n`);
    if (!this.#flushing) this.#flush();
  }

  /** Ends the channel and destroys the stream; safe to call at any time and more than once. */
  end(reason: Error | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#queue = [];
    this.#stream.destroy();
    this.#options.onEnd(reason);
  }

  #flush(): void {
    this.#flushing = true;
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, 64).join('');
      if (!this.#stream.write(batch)) {
        this.#stream.once('drain', () => this.#flush());
        return;
      }
    }
    this.#flushing = false;
  }

  #read(chunk: Buffer | string): void {
    if (this.#ended) return;
    try {
      this.#splitter.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
    } catch (error) {
      this.end(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #receive(line: string): void {
    if (this.#ended) return;
    this.#options.log?.('<', line);
    this.#options.onLine(line);
  }
}

/** Cuts bytes at newlines, whatever the chunks; drops one `\r` before the newline; throws on a line that is too long. */
export class ByteLines {
  readonly #longest: number;
  readonly #onLine: (line: string) => void;
  #parts: Buffer[] = [];
  #length = 0;

  constructor(longest: number, onLine: (line: string) => void) {
    this.#longest = longest;
    this.#onLine = onLine;
  }

  push(chunk: Buffer): void {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      this.#keep(chunk.subarray(from, at));
      from = at + 1;
      this.#onLine(this.#take());
    }
    this.#keep(chunk.subarray(from));
  }

  #keep(part: Buffer): void {
    if (part.length === 0) return;
    this.#length += part.length;
    if (this.#length > this.#longest) throw new Error(`a line is longer than ${this.#longest} bytes`);
    this.#parts.push(part);
  }

  #take(): string {
    const line = this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#length = 0;
    const text = line?.toString('utf8') ?? '';
    return text.endsWith('\r') ? text.slice(0, -1) : text;
  }
}
