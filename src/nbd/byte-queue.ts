/** Bytes of a stream, from which whole messages are taken however the stream was cut. */
export class ByteQueue {
  readonly #chunks: Buffer[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** The next `count` bytes, without a copy where they lie in one piece; `undefined` until that many are there. */
  take(count: number): Buffer | undefined {
    if (count > this.#length) return undefined;
    const [first] = this.#chunks;
    if (first === undefined) return Buffer.alloc(0);
    if (first.length >= count) return this.#cut(first, count);
    const whole = Buffer.allocUnsafe(count);
    this.fill(whole, 0);
    return whole;
  }

  /** Moves bytes to `to` from `at` on, as many as there are and fit. Returns how many. */
  fill(to: Buffer, at: number): number {
    let filled = at;
    for (let [first] = this.#chunks; first !== undefined && filled < to.length; [first] = this.#chunks) {
      const part = this.#cut(first, Math.min(first.length, to.length - filled));
      part.copy(to, filled);
      filled += part.length;
    }
    return filled - at;
  }

  clear(): void {
    this.#chunks.length = 0;
    this.#length = 0;
  }

  #cut(first: Buffer, count: number): Buffer {
    this.#length -= count;
    if (first.length === count) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(count);
    return first.length === count ? first : first.subarray(0, count);
  }
}
