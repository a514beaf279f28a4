import { createHash } from 'node:crypto';
import { CheckFailure } from '../../../lab/check.js';
import type { BlockDevice } from '../../../nbd/device.js';

export const MIB = 1024 * 1024;

/** Pure. So many bytes that follow from the nonce and a label, and that nobody who has not seen the nonce can tell. */
export function bytesOf(nonce: Buffer, label: string, length: number): Buffer {
  return createHash('shake256', { outputLength: length }).update(nonce).update(label).digest();
}

/** Pure. The same for whole numbers from 0 to below `limit`. */
export function numbersOf(nonce: Buffer, label: string, count: number, limit: number): number[] {
  const bytes = bytesOf(nonce, label, 4 * count);
  return Array.from({ length: count }, (_, i) => bytes.readUInt32BE(4 * i) % limit);
}

/** Pure. What the device deadbeef holds at an offset. */
export function deadbeefAt(offset: number, length: number): Buffer {
  return Buffer.alloc(length + 4, 'deadbeef', 'hex').subarray(offset % 4, (offset % 4) + length);
}

/** Reads a part of a device, a megabyte at a time. */
export async function readPart(device: BlockDevice, offset: number, length: number): Promise<Buffer> {
  const data = Buffer.alloc(length);
  for (let at = 0; at < length; at += MIB)
    await device.read(offset + at, data.subarray(at, Math.min(length, at + MIB)));
  return data;
}

/** @throws CheckFailure that shows where they differ first. `from`: offset of both in the device. */
export function expectData(
  what: string,
  actual: Buffer,
  expected: Buffer,
  from: number,
  hint?: string,
): void {
  if (actual.equals(expected)) return;
  const at = expected.findIndex((byte, i) => actual[i] !== byte);
  const show = (data: Buffer) => data.toString('hex', at, at + 16);
  const evidence = [`at byte ${from + at}:`, `expected: ${show(expected)}`, `actual:   ${show(actual)}`];
  throw new CheckFailure(`${what} is not as expected`, evidence, hint);
}
