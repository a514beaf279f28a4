import { ByteQueue } from '../../src/nbd/byte-queue.js';

/** An option as a client sends it. */
export function option(code: number, data: Uint8Array = new Uint8Array()): Buffer {
  const head = Buffer.alloc(16);
  head.writeBigUInt64BE(0x49484156454f5054n, 0);
  head.writeUInt32BE(code, 8);
  head.writeUInt32BE(data.length, 12);
  return Buffer.concat([head, data]);
}

export function uint(bytes: 2 | 4, value: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  buffer.writeUIntBE(value, 0, bytes);
  return buffer;
}

/** Data of INFO and GO. */
export function infoData(name: string, requests: readonly number[] = []): Buffer {
  const text = Buffer.from(name);
  return Buffer.concat([
    uint(4, text.length),
    text,
    uint(2, requests.length),
    ...requests.map((request) => uint(2, request)),
  ]);
}

/** Data of LIST_META_CONTEXT and SET_META_CONTEXT. */
export function contextData(name: string, queries: readonly string[]): Buffer {
  const string = (text: string) => Buffer.concat([uint(4, Buffer.byteLength(text)), Buffer.from(text)]);
  return Buffer.concat([string(name), uint(4, queries.length), ...queries.map(string)]);
}

export interface OptionReply {
  readonly option: number;
  readonly type: number;
  readonly data: Buffer;
}

/** All option replies in `bytes`. */
export function optionReplies(bytes: Buffer): OptionReply[] {
  const replies: OptionReply[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (bytes.readBigUInt64BE(at) !== 0x3e889045565a9n) throw new Error(`no option reply at ${at}`);
    const length = bytes.readUInt32BE(at + 16);
    replies.push({
      option: bytes.readUInt32BE(at + 8),
      type: bytes.readUInt32BE(at + 12),
      data: bytes.subarray(at + 20, at + 20 + length),
    });
    at += 20 + length;
  }
  return replies;
}

export interface ClientRequest {
  readonly command: number;
  readonly flags?: number;
  readonly cookie: bigint;
  readonly offset?: number | bigint;
  readonly length?: number;
  readonly data?: Buffer;
}

/** A request as a client sends it, its data included. */
export function request({ command, flags = 0, cookie, offset = 0, length, data }: ClientRequest): Buffer {
  const head = Buffer.alloc(28);
  head.writeUInt32BE(0x25609513, 0);
  head.writeUInt16BE(flags, 4);
  head.writeUInt16BE(command, 6);
  head.writeBigUInt64BE(cookie, 8);
  head.writeBigUInt64BE(BigInt(offset), 16);
  head.writeUInt32BE(length ?? data?.length ?? 0, 24);
  return data === undefined ? head : Buffer.concat([head, data]);
}

export interface Reply {
  readonly cookie: bigint;
  readonly error: number;
  readonly data: Buffer;
  readonly message: string;
  /** Of a structured reply. */
  readonly type?: number;
}

/** Reads replies as they come. */
export class ReplyReader {
  readonly #input = new ByteQueue();
  readonly #readLength: (cookie: bigint) => number;

  /** @param readLength bytes that the request of this cookie asked for; 0 for all but reads. */
  constructor(readLength: (cookie: bigint) => number) {
    this.#readLength = readLength;
  }

  #head: Buffer | undefined;

  push(chunk: Buffer): Reply[] {
    this.#input.push(Buffer.from(chunk));
    const replies: Reply[] = [];
    for (;;) {
      this.#head ??= this.#input.take(16);
      if (this.#head === undefined) return replies;
      const reply =
        this.#head.readUInt32BE(0) === 0x67446698 ? this.#simple(this.#head) : this.#structured(this.#head);
      if (reply === undefined) return replies;
      this.#head = undefined;
      replies.push(reply);
    }
  }

  #simple(head: Buffer): Reply | undefined {
    const cookie = head.readBigUInt64BE(8);
    const error = head.readUInt32BE(4);
    const data = this.#input.take(error === 0 ? this.#readLength(cookie) : 0);
    return data === undefined ? undefined : { cookie, error, data, message: '' };
  }

  #length: number | undefined;

  #structured(head: Buffer): Reply | undefined {
    if (head.readUInt32BE(0) !== 0x668e33ef) throw new Error(`no reply: ${head.toString('hex')}`);
    this.#length ??= this.#input.take(4)?.readUInt32BE(0);
    if (this.#length === undefined) return undefined;
    const payload = this.#input.take(this.#length);
    if (payload === undefined) return undefined;
    this.#length = undefined;
    if ((head.readUInt16BE(4) & 1) === 0) throw new Error('a chunk that is not the last one');
    const type = head.readUInt16BE(6);
    const cookie = head.readBigUInt64BE(8);
    if (type === 0x8001) {
      return {
        cookie,
        type,
        error: payload.readUInt32BE(0),
        data: Buffer.alloc(0),
        message: payload.toString('utf8', 6),
      };
    }
    return { cookie, type, error: 0, data: type === 1 ? payload.subarray(8) : payload, message: '' };
  }
}

/** `bytes` cut at the given places, each a fraction of the whole. */
export function cutAt(bytes: Buffer, places: readonly number[]): Buffer[] {
  const cuts = [
    0,
    ...places.map((place) => Math.floor(place * bytes.length)).sort((a, b) => a - b),
    bytes.length,
  ];
  return cuts.slice(1).map((end, i) => bytes.subarray(cuts[i], end));
}
