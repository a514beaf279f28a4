import { StringDecoder } from 'node:string_decoder';

/** Longest line kept whole; what follows up to the newline is dropped, so hostile output cannot fill memory. */
const LONGEST = 64 * 1024;

/**
 * Cuts a byte stream into lines of UTF-8 text. `\n`, `\r\n` and a lone `\r` (progress bars) end a line.
 * Invalid bytes become U+FFFD.
 */
export class LineSplitter {
  readonly #decoder = new StringDecoder('utf8');
  readonly #onLine: (line: string) => void;
  #rest = '';
  #afterReturn = false;

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(chunk: Buffer | string): void {
    const text = typeof chunk === 'string' ? chunk : this.#decoder.write(chunk);
    let from = 0;
    for (let i = 0; i < text.length; i += 1) {
      const c = text.charCodeAt(i);
      if (c !== 10 && c !== 13) {
        this.#afterReturn = false;
        continue;
      }
      const secondHalf = c === 10 && this.#afterReturn && i === from && this.#rest === '';
      if (!secondHalf) this.#emit(text.slice(from, i));
      from = i + 1;
      this.#afterReturn = c === 13;
    }
    this.#rest = (this.#rest + text.slice(from)).slice(0, LONGEST);
  }

  /** The last line, if it had no newline. */
  end(): void {
    const rest = this.#decoder.end();
    if (this.#rest + rest !== '') this.#emit(rest);
  }

  #emit(tail: string): void {
    const line = (this.#rest + tail).slice(0, LONGEST);
    this.#rest = '';
    this.#onLine(line);
  }
}
