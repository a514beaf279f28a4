import type { Backend } from './aligned.js';
import type { ByteQueue } from './byte-queue.js';
import {
  FIXED_NEWSTYLE,
  IHAVEOPT,
  Info,
  MAX_PAYLOAD,
  MAX_STRING,
  NO_ZEROES,
  Option,
  OptionReply,
  optionReply,
  TransmissionFlag,
} from './protocol.js';

/** A device by the name under which clients ask for it. */
export interface Export {
  readonly name: string;
  readonly description: string;
  readonly backend: Backend;
  /** Tell clients that a device without `write` is read-only, so that they do not even try. */
  readonly tellReadOnly: boolean;
}

/** What was agreed on. */
export interface Agreed {
  readonly export: Export;
  readonly structured: boolean;
  /** The client may ask for block status. */
  readonly allocation: boolean;
}

/** A breach of the protocol: the connection is closed. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

/** How a step of the handshake ended it: in agreement, or with the client's good-bye. */
export type HandshakeEnd = { readonly agreed: Agreed } | 'abort';

/** "Newstyle negotiation": longest data of an option that is read; longer ones are a breach. */
const MAX_OPTION = 64 * 1024;

/** Number of a context in replies; there is only this one. */
export const ALLOCATION_CONTEXT = 1;
const ALLOCATION = 'base:allocation';

/** "Handshake": the server's side of it after its greeting, whatever way the bytes come in. */
export class Handshake {
  readonly #exports: readonly Export[];
  readonly #send: (data: Buffer) => void;
  #flags: number | undefined;
  #structured = false;
  /** Name of the export for which the metadata context was chosen. */
  #allocationFor: string | undefined;

  /** @param exports the first is the default one, which has no name for the client. */
  constructor(exports: readonly Export[], send: (data: Buffer) => void) {
    this.#exports = exports;
    this.#send = send;
  }

  /**
   * Takes all complete messages from `input`.
   *
   * @returns how the handshake ended, `undefined` while it goes on. Then `input` begins with the first request.
   * @throws ProtocolError.
   */
  advance(input: ByteQueue): HandshakeEnd | undefined {
    if (this.#flags === undefined) {
      const flags = input.take(4)?.readUInt32BE(0);
      if (flags === undefined) return undefined;
      if ((flags & ~(FIXED_NEWSTYLE | NO_ZEROES)) !== 0)
        throw new ProtocolError(`unknown client flags 0x${flags.toString(16)}`);
      this.#flags = flags;
    }
    for (;;) {
      const option = this.#next(input);
      if (option === undefined) return undefined;
      const end = this.#answer(option.code, option.data);
      if (end !== undefined) return end;
    }
  }

  #head: { readonly code: number; readonly length: number } | undefined;

  #next(input: ByteQueue): { readonly code: number; readonly data: Buffer } | undefined {
    if (this.#head === undefined) {
      const head = input.take(16);
      if (head === undefined) return undefined;
      if (head.readBigUInt64BE(0) !== IHAVEOPT) throw new ProtocolError('an option without its magic number');
      this.#head = { code: head.readUInt32BE(8), length: head.readUInt32BE(12) };
      if (this.#head.length > MAX_OPTION) throw new ProtocolError(`an option of ${this.#head.length} bytes`);
    }
    const { code, length } = this.#head;
    const data = input.take(length);
    if (data === undefined) return undefined;
    this.#head = undefined;
    return { code, data };
  }

  #answer(code: number, data: Buffer): HandshakeEnd | undefined {
    const fixed = ((this.#flags ?? 0) & FIXED_NEWSTYLE) !== 0;
    if (code === Option.EXPORT_NAME) return this.#exportName(data);
    if (!fixed) throw new ProtocolError(`option ${code} of a client that knows only one`);
    switch (code) {
      case Option.ABORT:
        this.#reply(code, OptionReply.ACK);
        return 'abort';
      case Option.LIST:
        return void this.#list(data);
      case Option.INFO:
      case Option.GO:
        return this.#info(code, data);
      case Option.STRUCTURED_REPLY:
        if (data.length > 0) return void this.#refuse(code, 'INVALID', 'this option has no data');
        this.#structured = true;
        return void this.#reply(code, OptionReply.ACK);
      case Option.LIST_META_CONTEXT:
      case Option.SET_META_CONTEXT:
        return void this.#metaContext(code, data);
      default:
        return void this.#refuse(code, 'UNSUP', 'this server does not know the option');
    }
  }

  #reply(code: number, type: number, data?: Buffer): void {
    this.#send(optionReply(code, type, data));
  }

  #refuse(code: number, why: 'INVALID' | 'UNSUP' | 'UNKNOWN' | 'TOO_BIG', text: string): void {
    this.#reply(code, OptionReply[`ERR_${why}`], Buffer.from(text));
  }

  #find(name: string): Export | undefined {
    return name === '' ? this.#exports[0] : this.#exports.find((one) => one.name === name);
  }

  #agree(chosen: Export): HandshakeEnd {
    const allocation = this.#allocationFor !== undefined && this.#find(this.#allocationFor) === chosen;
    return { agreed: { export: chosen, structured: this.#structured, allocation } };
  }

  /** Cannot be refused but by closing the connection. */
  #exportName(data: Buffer): HandshakeEnd {
    const chosen = this.#find(data.toString('utf8'));
    if (chosen === undefined) throw new ProtocolError('there is no export of this name');
    const zeros = ((this.#flags ?? 0) & NO_ZEROES) !== 0 ? 0 : 124;
    const reply = Buffer.alloc(10 + zeros);
    reply.writeBigUInt64BE(chosen.backend.size, 0);
    reply.writeUInt16BE(transmissionFlags(chosen, this.#structured), 8);
    this.#send(reply);
    return this.#agree(chosen);
  }

  #list(data: Buffer): void {
    if (data.length > 0) return void this.#refuse(Option.LIST, 'INVALID', 'this option has no data');
    for (const { name, description } of this.#exports) {
      const text = Buffer.from(name);
      const head = Buffer.allocUnsafe(4);
      head.writeUInt32BE(text.length, 0);
      this.#reply(Option.LIST, OptionReply.SERVER, Buffer.concat([head, text, Buffer.from(description)]));
    }
    this.#reply(Option.LIST, OptionReply.ACK);
  }

  #info(code: number, data: Buffer): HandshakeEnd | undefined {
    const asked = parseInfo(data);
    if (asked === undefined)
      return void this.#refuse(code, 'INVALID', 'the lengths in the option do not fit');
    const chosen = this.#find(asked.name);
    if (chosen === undefined) return void this.#refuse(code, 'UNKNOWN', 'there is no export of this name');
    for (const item of infoItems(chosen, asked.requests, this.#structured))
      this.#reply(code, OptionReply.INFO, item);
    this.#reply(code, OptionReply.ACK);
    return code === Option.GO ? this.#agree(chosen) : undefined;
  }

  #metaContext(code: number, data: Buffer): void {
    const set = code === Option.SET_META_CONTEXT;
    if (set) this.#allocationFor = undefined;
    if (!this.#structured)
      return void this.#refuse(code, 'INVALID', 'structured replies have to be agreed on before');
    const asked = parseMetaContext(data);
    if (asked === undefined)
      return void this.#refuse(code, 'INVALID', 'the lengths in the option do not fit');
    const chosen = this.#find(asked.name);
    if (chosen === undefined) return void this.#refuse(code, 'UNKNOWN', 'there is no export of this name');
    const wanted = set
      ? asked.queries.includes(ALLOCATION)
      : asked.queries.length === 0 ||
        asked.queries.some((query) => query === ALLOCATION || query === 'base:');
    if (wanted && chosen.backend.hasExtents) {
      const id = Buffer.alloc(4);
      id.writeUInt32BE(set ? ALLOCATION_CONTEXT : 0, 0);
      this.#reply(code, OptionReply.META_CONTEXT, Buffer.concat([id, Buffer.from(ALLOCATION)]));
      if (set) this.#allocationFor = asked.name;
    }
    this.#reply(code, OptionReply.ACK);
  }
}

/** "Transmission flags". */
export function transmissionFlags({ backend, tellReadOnly }: Export, structured: boolean): number {
  const writable = !(backend.readOnly && tellReadOnly);
  return (
    TransmissionFlag.HAS_FLAGS |
    TransmissionFlag.CAN_MULTI_CONN |
    (writable ? 0 : TransmissionFlag.READ_ONLY) |
    (backend.canFlush ? TransmissionFlag.SEND_FLUSH | TransmissionFlag.SEND_FUA : 0) |
    (backend.canTrim ? TransmissionFlag.SEND_TRIM : 0) |
    (backend.readOnly ? 0 : TransmissionFlag.SEND_WRITE_ZEROES) |
    (backend.canZeroFast ? TransmissionFlag.SEND_FAST_ZERO : 0) |
    (structured ? TransmissionFlag.SEND_DF : 0)
  );
}

/** `NBD_OPT_INFO` and `NBD_OPT_GO`. */
function parseInfo(
  data: Buffer,
): { readonly name: string; readonly requests: readonly number[] } | undefined {
  if (data.length < 6) return undefined;
  const length = data.readUInt32BE(0);
  if (length > data.length - 6 || length > MAX_STRING) return undefined;
  const count = data.readUInt16BE(4 + length);
  if (data.length !== 6 + length + 2 * count) return undefined;
  const requests = Array.from({ length: count }, (_, i) => data.readUInt16BE(6 + length + 2 * i));
  return { name: data.toString('utf8', 4, 4 + length), requests };
}

function infoItems(chosen: Export, requests: readonly number[], structured: boolean): Buffer[] {
  const { backend, name, description } = chosen;
  const item = Buffer.allocUnsafe(12);
  item.writeUInt16BE(Info.EXPORT, 0);
  item.writeBigUInt64BE(backend.size, 2);
  item.writeUInt16BE(transmissionFlags(chosen, structured), 10);
  const items: Buffer[] = [item];
  if (requests.includes(Info.NAME)) items.push(textItem(Info.NAME, name));
  if (requests.includes(Info.DESCRIPTION) && description !== '')
    items.push(textItem(Info.DESCRIPTION, description));
  if (requests.includes(Info.BLOCK_SIZE)) {
    const sizes = Buffer.allocUnsafe(14);
    sizes.writeUInt16BE(Info.BLOCK_SIZE, 0);
    sizes.writeUInt32BE(1, 2);
    sizes.writeUInt32BE(Math.max(backend.blockSize, 4096), 6);
    sizes.writeUInt32BE(MAX_PAYLOAD, 10);
    items.push(sizes);
  }
  return items;
}

function textItem(type: number, text: string): Buffer {
  const head = Buffer.allocUnsafe(2);
  head.writeUInt16BE(type, 0);
  return Buffer.concat([head, Buffer.from(text)]);
}

/** `NBD_OPT_LIST_META_CONTEXT` and `NBD_OPT_SET_META_CONTEXT`. */
function parseMetaContext(
  data: Buffer,
): { readonly name: string; readonly queries: readonly string[] } | undefined {
  let at = 0;
  const number = () => {
    at += 4;
    return at <= data.length ? data.readUInt32BE(at - 4) : undefined;
  };
  const string = () => {
    const length = number();
    if (length === undefined || length > MAX_STRING || at + length > data.length) return undefined;
    at += length;
    return data.toString('utf8', at - length, at);
  };
  const name = string();
  const count = name === undefined ? undefined : number();
  if (name === undefined || count === undefined) return undefined;
  const queries: string[] = [];
  for (let i = 0; i < count; i += 1) {
    const query = string();
    if (query === undefined) return undefined;
    queries.push(query);
  }
  return at === data.length ? { name, queries } : undefined;
}
