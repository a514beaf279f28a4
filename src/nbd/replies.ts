import type { BufferPool } from './buffers.js';
import {
  blockStatusChunk,
  DATA_CHUNK_LENGTH,
  errorChunk,
  SIMPLE_REPLY_LENGTH,
  writeDataChunk,
  writeNoneChunk,
  writeSimpleReply,
} from './protocol.js';
import type { Request } from './request.js';

/** Where replies go. */
export interface Output {
  /** `done` is called when the data need not be kept any more, also when the connection has ended. */
  write(data: Buffer, done?: () => void): void;
}

/** Bytes of one slab: small replies are collected in it and leave together. */
const SLAB = 256 * 1024;

interface Slab {
  readonly buffer: Buffer;
  start: number;
  end: number;
  /** Writes that have not ended, reads that go on, and whether it is the current one. */
  uses: number;
}

/** Room for the reply to a read, and the part of it that the device fills. */
export interface ReadReply {
  readonly data: Buffer;
  /** The data are there: at once, in the turn in which the room was made. */
  send(): void;
  /** The device goes on reading; `send` is then called later. */
  keep(): void;
  /** There will be no data. */
  drop(): void;
  /** Sends the first bytes of the reply only. */
  sendPart(bytes: number): void;
}

/** Writes replies, few at a time as one. */
export class Replies {
  readonly #output: Output;
  readonly #pool: BufferPool;
  readonly #structured: boolean;
  #slab: Slab | undefined;

  constructor(output: Output, pool: BufferPool, structured: boolean) {
    this.#output = output;
    this.#pool = pool;
    this.#structured = structured;
  }

  /** A request without data in its answer has succeeded. */
  done(request: Request): void {
    if (request.isRead && this.#structured) {
      writeNoneChunk(this.#append(20), request.cookieHigh, request.cookieLow);
      return;
    }
    writeSimpleReply(this.#append(SIMPLE_REPLY_LENGTH), 0, request.cookieHigh, request.cookieLow);
  }

  /** @param error number of the protocol's error. */
  failed({ cookieHigh, cookieLow }: Request, error: number, message: string): void {
    if (this.#structured) this.#write(errorChunk(cookieHigh, cookieLow, error, message));
    else writeSimpleReply(this.#append(SIMPLE_REPLY_LENGTH), error, cookieHigh, cookieLow);
  }

  blockStatus(
    { cookieHigh, cookieLow }: Request,
    context: number,
    extents: readonly { readonly length: number; readonly flags: number }[],
  ): void {
    this.#write(blockStatusChunk(cookieHigh, cookieLow, context, extents));
  }

  /** Room for a small read in the slab. */
  small(request: Request): ReadReply {
    const head = this.#headLength();
    const total = head + request.length;
    const slab = this.#room(total);
    const at = slab.end;
    const whole = slab.buffer.subarray(at, at + total);
    this.#head(whole, request);
    let kept = false;
    const send = (part: Buffer) => {
      if (kept) return this.#output.write(part, () => this.#release(slab));
      slab.end += part.length;
    };
    return {
      data: whole.subarray(head),
      send: () => send(whole),
      sendPart: (bytes) => send(whole.subarray(0, bytes)),
      keep: () => {
        this.flush();
        kept = true;
        slab.uses += 1;
        slab.start = slab.end = at + total;
      },
      drop: () => {
        if (kept) this.#release(slab);
      },
    };
  }

  /** A read in a buffer of its own. `done` is called when that is free again. */
  large(request: Request, done: () => void): ReadReply {
    const head = this.#headLength();
    const total = head + request.length;
    const buffer = this.#pool.take(total);
    const whole = buffer.subarray(0, total);
    this.#head(whole, request);
    const free = () => {
      this.#pool.give(buffer);
      done();
    };
    const send = (part: Buffer) => {
      this.flush();
      this.#output.write(part, free);
    };
    return {
      data: whole.subarray(head),
      send: () => send(whole),
      sendPart: (bytes) => send(whole.subarray(0, bytes)),
      keep: () => {},
      drop: free,
    };
  }

  /** Sends what was collected. */
  flush(): void {
    const slab = this.#slab;
    if (slab === undefined || slab.end === slab.start) return;
    const part = slab.buffer.subarray(slab.start, slab.end);
    slab.start = slab.end;
    slab.uses += 1;
    this.#output.write(part, () => this.#release(slab));
  }

  /** After the last reply. */
  close(): void {
    this.flush();
    const slab = this.#slab;
    this.#slab = undefined;
    if (slab !== undefined) this.#release(slab);
  }

  #headLength(): number {
    return this.#structured ? DATA_CHUNK_LENGTH : SIMPLE_REPLY_LENGTH;
  }

  #head(to: Buffer, { cookieHigh, cookieLow, offsetHigh, offsetLow, length }: Request): void {
    if (this.#structured)
      writeDataChunk(to, cookieHigh, cookieLow, { high: offsetHigh, low: offsetLow }, length);
    else writeSimpleReply(to, 0, cookieHigh, cookieLow);
  }

  #write(message: Buffer): void {
    message.copy(this.#append(message.length));
  }

  #append(length: number): Buffer {
    const slab = this.#room(length);
    slab.end += length;
    return slab.buffer.subarray(slab.end - length, slab.end);
  }

  #room(length: number): Slab {
    const slab = this.#slab;
    if (slab !== undefined && slab.end + length <= slab.buffer.length) return slab;
    this.close();
    const fresh = { buffer: this.#pool.take(Math.max(SLAB, length)), start: 0, end: 0, uses: 1 };
    this.#slab = fresh;
    return fresh;
  }

  #release(slab: Slab): void {
    slab.uses -= 1;
    if (slab.uses === 0) this.#pool.give(slab.buffer);
    else if (slab.uses === 1 && slab === this.#slab && slab.start === slab.end) slab.start = slab.end = 0;
  }
}
