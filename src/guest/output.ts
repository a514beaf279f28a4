import type { Readable } from 'node:stream';
import { LineSplitter } from '../host/lines.js';

const LAST_LINES = 20;

/** The end of a stream: its last `limit` bytes, so that no amount of output fills the memory. */
export class Tail {
  readonly #limit: number;
  readonly #chunks: Buffer[] = [];
  #size = 0;
  /** Bytes seen in all. */
  total = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  push(chunk: Buffer): void {
    this.total += chunk.length;
    this.#size += chunk.length;
    this.#chunks.push(chunk);
    for (
      let [oldest] = this.#chunks;
      oldest && this.#size - oldest.length >= this.#limit;
      [oldest] = this.#chunks
    ) {
      this.#size -= oldest.length;
      this.#chunks.shift();
    }
  }

  bytes(): Buffer {
    const kept = Buffer.concat(this.#chunks);
    return kept.subarray(Math.max(0, kept.length - this.#limit));
  }

  text(): string {
    return this.bytes().toString('utf8');
  }

  /** Bytes seen and not kept. */
  get dropped(): number {
    return Math.max(0, this.total - this.#limit);
  }
}

/** The last lines of several streams in the order they came, for the evidence of an error. */
export class LastLines {
  readonly lines: string[] = [];

  push(line: string): void {
    this.lines.push(line);
    if (this.lines.length > LAST_LINES) this.lines.shift();
  }
}

/** Reads a stream to its end into `tail`, and line by line into `onLine`. */
export function drain(stream: Readable, tail: Tail, onLine: (line: string) => void): void {
  const lines = new LineSplitter(onLine);
  stream.on('data', (chunk: Buffer) => {
    tail.push(chunk);
    lines.push(chunk);
  });
  stream.once('end', () => lines.end());
}
