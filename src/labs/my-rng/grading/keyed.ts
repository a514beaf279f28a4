import { createHmac } from 'node:crypto';

/**
 * Numbers that the reference device with `key` gives after `seed`, from number `from` (0 is the first) on: the first
 * four bytes, little-endian, of HMAC-SHA256 over the seed (4 bytes) and the number's index (8 bytes), little-endian.
 *
 * @param key hexadecimal digits, as given to the device.
 * @param seed unsigned 32-bit; before any seed the device is at seed 0.
 */
export function keyedNumbers(key: string, seed: number, from: number, count: number): number[] {
  const secret = Buffer.from(key, 'hex');
  return Array.from({ length: count }, (_, index) => {
    const message = Buffer.alloc(12);
    message.writeUInt32LE(seed);
    message.writeBigUInt64LE(BigInt(from + index), 4);
    return createHmac('sha256', secret).update(message).digest().readUInt32LE();
  });
}
