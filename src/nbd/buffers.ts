/**
 * Large buffers that are used again and again: getting fresh memory from the system for each request costs more than
 * serving it.
 */
export class BufferPool {
  readonly #free = new Map<number, Buffer[]>();
  readonly #keep: number;
  #kept = 0;

  /** @param keep bytes that are kept at most while nobody uses them. */
  constructor(keep: number) {
    this.#keep = keep;
  }

  /** A buffer of at least `length` bytes, with whatever it held before. */
  take(length: number): Buffer {
    const size = sizeFor(length);
    const known = this.#free.get(size)?.pop();
    if (known === undefined) return Buffer.allocUnsafeSlow(size);
    this.#kept -= size;
    return known;
  }

  /** Only for buffers from `take`, as they were given. */
  give(buffer: Buffer): void {
    const size = buffer.length;
    if (this.#kept + size > this.#keep) return;
    const list = this.#free.get(size) ?? [];
    list.push(buffer);
    this.#free.set(size, list);
    this.#kept += size;
  }
}

/** Powers of 2, and a little for a header. */
function sizeFor(length: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(length - HEADERS, 4096))) + HEADERS;
}

const HEADERS = 64;
