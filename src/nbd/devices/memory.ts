import type { BlockDevice, Extent } from '../device.js';

/** Bytes that are allocated at a time. */
const PIECE = 64 * 1024;

/**
 * A device in memory that takes memory only for what was written. What was not, reads as zeros.
 *
 * @param size bytes; a multiple of `blockSize`.
 */
export function sparse(size: number, blockSize = 512): BlockDevice {
  return new Sparse(size, blockSize);
}

class Sparse implements BlockDevice {
  readonly #size: number;
  readonly #blockSize: number;
  readonly #pieces = new Map<number, Buffer>();

  constructor(size: number, blockSize: number) {
    if (size % blockSize !== 0)
      throw new RangeError(`${size} bytes are no whole number of blocks of ${blockSize}`);
    this.#size = size;
    this.#blockSize = blockSize;
  }

  blockSize(): number {
    return this.#blockSize;
  }

  blocks(): number {
    return this.#size / this.#blockSize;
  }

  read(offset: number, buffer: Buffer): void {
    for (const { index, from, at, length } of piecesOf(offset, buffer.length)) {
      const piece = this.#pieces.get(index);
      if (piece === undefined) buffer.fill(0, at, at + length);
      else piece.copy(buffer, at, from, from + length);
    }
  }

  write(offset: number, buffer: Buffer): void {
    for (const { index, from, at, length } of piecesOf(offset, buffer.length)) {
      let piece = this.#pieces.get(index);
      if (piece === undefined) {
        piece = Buffer.alloc(PIECE);
        this.#pieces.set(index, piece);
      }
      buffer.copy(piece, from, at, at + length);
    }
  }

  /** Memory is as stable as this device gets. */
  flush(): void {}

  trim(offset: number, length: number): void {
    this.zero(offset, length);
  }

  zero(offset: number, length: number): void {
    for (const { index, from, length: part } of piecesOf(offset, length)) {
      if (part === PIECE) this.#pieces.delete(index);
      else this.#pieces.get(index)?.fill(0, from, from + part);
    }
  }

  extents(offset: number, length: number): readonly Extent[] {
    const found: Extent[] = [];
    for (const { index, length: part } of piecesOf(offset, length)) {
      const hole = !this.#pieces.has(index);
      const last = found.at(-1);
      if (last?.hole === hole) found[found.length - 1] = { ...last, length: last.length + part };
      else found.push({ length: part, hole, zero: hole });
    }
    return found;
  }
}

interface Part {
  readonly index: number;
  /** Where it begins in the piece, and in the request. */
  readonly from: number;
  readonly at: number;
  readonly length: number;
}

function* piecesOf(offset: number, length: number): Generator<Part> {
  for (let at = 0; at < length; ) {
    const index = Math.floor((offset + at) / PIECE);
    const from = offset + at - index * PIECE;
    const part = Math.min(PIECE - from, length - at);
    yield { index, from, at, length: part };
    at += part;
  }
}
