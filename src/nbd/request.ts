import { Command, REQUEST_MAGIC } from './protocol.js';

/** "Request message", as it was sent. 64-bit numbers are in two halves: most never need more than the lower one. */
export interface Request {
  readonly command: number;
  readonly flags: number;
  readonly cookieHigh: number;
  readonly cookieLow: number;
  readonly offsetHigh: number;
  readonly offsetLow: number;
  readonly length: number;
  readonly isRead: boolean;
}

/** The 28 bytes of a request, `undefined` when its magic number is wrong. */
export function parseRequest(head: Buffer): Request | undefined {
  if (head.readUInt32BE(0) !== REQUEST_MAGIC) return undefined;
  const command = head.readUInt16BE(6);
  return {
    command,
    flags: head.readUInt16BE(4),
    cookieHigh: head.readUInt32BE(8),
    cookieLow: head.readUInt32BE(12),
    offsetHigh: head.readUInt32BE(16),
    offsetLow: head.readUInt32BE(20),
    length: head.readUInt32BE(24),
    isRead: command === Command.READ,
  };
}
