/**
 * Numbers and messages of the NBD protocol. Section names in comments are those of its specification, doc/proto.md of
 * the project nbd. All integers are in network byte order.
 */

/** "Newstyle negotiation". */
export const NBDMAGIC = 0x4e42444d41474943n;
export const IHAVEOPT = 0x49484156454f5054n;
/** "Fixed newstyle negotiation": replies to options. */
const REPLY_MAGIC = 0x0003e889045565a9n;

/** "Handshake flags" and "Client flags": the same two bits in both. */
export const FIXED_NEWSTYLE = 1;
export const NO_ZEROES = 2;

/** "Transmission flags". */
export const TransmissionFlag = {
  HAS_FLAGS: 1 << 0,
  READ_ONLY: 1 << 1,
  SEND_FLUSH: 1 << 2,
  SEND_FUA: 1 << 3,
  SEND_TRIM: 1 << 5,
  SEND_WRITE_ZEROES: 1 << 6,
  SEND_DF: 1 << 7,
  CAN_MULTI_CONN: 1 << 8,
  SEND_FAST_ZERO: 1 << 11,
} as const;

/** "Option types". */
export const Option = {
  EXPORT_NAME: 1,
  ABORT: 2,
  LIST: 3,
  INFO: 6,
  GO: 7,
  STRUCTURED_REPLY: 8,
  LIST_META_CONTEXT: 9,
  SET_META_CONTEXT: 10,
} as const;

/** "Option reply types". */
export const OptionReply = {
  ACK: 1,
  SERVER: 2,
  INFO: 3,
  META_CONTEXT: 4,
  ERR_UNSUP: 0x80000001,
  ERR_POLICY: 0x80000002,
  ERR_INVALID: 0x80000003,
  ERR_UNKNOWN: 0x80000006,
  ERR_SHUTDOWN: 0x80000007,
  ERR_TOO_BIG: 0x80000009,
} as const;

export const Info = { EXPORT: 0, NAME: 1, DESCRIPTION: 2, BLOCK_SIZE: 3 } as const;

/** "Request types". */
export const Command = {
  READ: 0,
  WRITE: 1,
  DISC: 2,
  FLUSH: 3,
  TRIM: 4,
  WRITE_ZEROES: 6,
  BLOCK_STATUS: 7,
} as const;

/** "Command flags". */
export const CommandFlag = {
  FUA: 1 << 0,
  NO_HOLE: 1 << 1,
  DF: 1 << 2,
  REQ_ONE: 1 << 3,
  FAST_ZERO: 1 << 4,
} as const;

/** "Error values". */
export const NbdError = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const;

/** "Request message". */
export const REQUEST_MAGIC = 0x25609513;
export const REQUEST_LENGTH = 28;

/** "Simple reply message". */
const SIMPLE_REPLY_MAGIC = 0x67446698;
export const SIMPLE_REPLY_LENGTH = 16;

/** "Structured reply chunk message". */
const STRUCTURED_REPLY_MAGIC = 0x668e33ef;
export const CHUNK_LENGTH = 20;
const REPLY_FLAG_DONE = 1;

/** "Structured reply types". */
const Chunk = { NONE: 0, OFFSET_DATA: 1, BLOCK_STATUS: 5, ERROR: 0x8001 } as const;

/** A chunk of type OFFSET_DATA before its data. */
export const DATA_CHUNK_LENGTH = CHUNK_LENGTH + 8;

/** "Size constraints": what every server has to take when none were agreed on, and what this one takes. */
export const MAX_PAYLOAD = 32 * 1024 * 1024;

/** Longest string that the specification lets anybody send ("Values" and "Conventions"). */
export const MAX_STRING = 4096;

/** What the server says first. */
export function greeting(): Buffer {
  const buffer = Buffer.allocUnsafe(18);
  buffer.writeBigUInt64BE(NBDMAGIC, 0);
  buffer.writeBigUInt64BE(IHAVEOPT, 8);
  buffer.writeUInt16BE(FIXED_NEWSTYLE | NO_ZEROES, 16);
  return buffer;
}

/** A reply to an option. */
export function optionReply(option: number, type: number, data: Uint8Array = new Uint8Array()): Buffer {
  const head = Buffer.allocUnsafe(20);
  head.writeBigUInt64BE(REPLY_MAGIC, 0);
  head.writeUInt32BE(option, 8);
  head.writeUInt32BE(type, 12);
  head.writeUInt32BE(data.length, 16);
  return Buffer.concat([head, data]);
}

/** The 16 bytes of a simple reply; the data of a successful read follow. */
export function writeSimpleReply(to: Buffer, error: number, cookieHigh: number, cookieLow: number): void {
  to.writeUInt32BE(SIMPLE_REPLY_MAGIC, 0);
  to.writeUInt32BE(error, 4);
  to.writeUInt32BE(cookieHigh, 8);
  to.writeUInt32BE(cookieLow, 12);
}

function writeChunk(to: Buffer, type: number, high: number, low: number, length: number): void {
  to.writeUInt32BE(STRUCTURED_REPLY_MAGIC, 0);
  to.writeUInt16BE(REPLY_FLAG_DONE, 4);
  to.writeUInt16BE(type, 6);
  to.writeUInt32BE(high, 8);
  to.writeUInt32BE(low, 12);
  to.writeUInt32BE(length, 16);
}

/** The end of a reply without content: 20 bytes. */
export function writeNoneChunk(to: Buffer, high: number, low: number): void {
  writeChunk(to, Chunk.NONE, high, low, 0);
}

/** The one and last content chunk of a read of `length` bytes, without its data: 28 bytes. */
export function writeDataChunk(
  to: Buffer,
  high: number,
  low: number,
  offset: { readonly high: number; readonly low: number },
  length: number,
): void {
  writeChunk(to, Chunk.OFFSET_DATA, high, low, 8 + length);
  to.writeUInt32BE(offset.high, 20);
  to.writeUInt32BE(offset.low, 24);
}

/** An error with a sentence for people. */
export function errorChunk(high: number, low: number, error: number, message: string): Buffer {
  const text = Buffer.from(message.slice(0, MAX_STRING / 4));
  const buffer = Buffer.allocUnsafe(CHUNK_LENGTH + 6 + text.length);
  writeChunk(buffer, Chunk.ERROR, high, low, 6 + text.length);
  buffer.writeUInt32BE(error, CHUNK_LENGTH);
  buffer.writeUInt16BE(text.length, CHUNK_LENGTH + 4);
  text.copy(buffer, CHUNK_LENGTH + 6);
  return buffer;
}

/** Extents of one metadata context: length in bytes and status flags of each. */
export function blockStatusChunk(
  high: number,
  low: number,
  context: number,
  extents: readonly { readonly length: number; readonly flags: number }[],
): Buffer {
  const buffer = Buffer.allocUnsafe(CHUNK_LENGTH + 4 + 8 * extents.length);
  writeChunk(buffer, Chunk.BLOCK_STATUS, high, low, 4 + 8 * extents.length);
  buffer.writeUInt32BE(context, CHUNK_LENGTH);
  for (const [i, { length, flags }] of extents.entries()) {
    buffer.writeUInt32BE(length, CHUNK_LENGTH + 4 + 8 * i);
    buffer.writeUInt32BE(flags, CHUNK_LENGTH + 8 + 8 * i);
  }
  return buffer;
}
