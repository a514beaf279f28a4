import { ByteQueue } from '../byte-queue.js';

/** What a device in another process is asked to do, and its answers; the two sides of one pipe. */
export const Kind = { hello: 0, read: 1, write: 2, flush: 3, trim: 4, zero: 5, unmount: 6 } as const;

export interface Frame {
  /** An answer has that of its question. */
  readonly id: number;
  readonly kind: number;
  /** Of answers: the operation failed, and the payload says how. */
  readonly failed: boolean;
  /** Bytes. */
  readonly offset: number;
  readonly length: number;
  readonly payload: Buffer;
}

const HEADER = 24;
const NOTHING = Buffer.alloc(0);

/** The bytes of a frame: header, then payload, which is not copied. */
export function encodeFrame(frame: Partial<Frame> & Pick<Frame, 'id' | 'kind'>): Buffer[] {
  const { id, kind, failed = false, offset = 0, length = 0, payload = NOTHING } = frame;
  const header = Buffer.alloc(HEADER);
  header.writeUInt32LE(id, 0);
  header.writeUInt8(kind, 4);
  header.writeUInt8(failed ? 1 : 0, 5);
  header.writeDoubleLE(offset, 8);
  header.writeUInt32LE(length, 16);
  header.writeUInt32LE(payload.length, 20);
  return payload.length === 0 ? [header] : [header, payload];
}

/** Takes frames from a stream, however it was cut. */
export class FrameReader {
  readonly #input = new ByteQueue();
  readonly #longest: number;
  #header: Buffer | undefined;

  /** @param longest bytes of a payload. */
  constructor(longest: number) {
    this.#longest = longest;
  }

  /** @throws RangeError for a payload that is too long. */
  *push(chunk: Buffer): Generator<Frame> {
    this.#input.push(chunk);
    for (let frame = this.#next(); frame !== undefined; frame = this.#next()) yield frame;
  }

  #next(): Frame | undefined {
    const header = this.#header ?? this.#input.take(HEADER);
    if (header === undefined) return undefined;
    const size = header.readUInt32LE(20);
    if (size > this.#longest)
      throw new RangeError(`a payload of ${size} bytes; ${this.#longest} are the most`);
    const payload = this.#input.take(size);
    this.#header = payload === undefined ? header : undefined;
    if (payload === undefined) return undefined;
    return {
      id: header.readUInt32LE(0),
      kind: header.readUInt8(4),
      failed: header.readUInt8(5) !== 0,
      offset: header.readDoubleLE(8),
      length: header.readUInt32LE(16),
      payload,
    };
  }
}

/** What a device says of itself before anything else, as JSON. */
export interface Hello {
  readonly blockSize: number;
  readonly blocks: number;
  /** Its optional methods. */
  readonly has: readonly string[];
}

/** Optional methods that can be called from another process. */
export const OPTIONAL = ['write', 'flush', 'trim', 'zero', 'unmount'] as const;
