import { createHash } from 'node:crypto';

/**
 * What the probe writes to the disk for a key: word i, 32 bits little endian, is a mix of i and the key; see
 * patches/virtblkiosim/guest/virtblkiosim-probe.c.
 */
export function diskData(key: number, bytes: number): Buffer {
  const data = Buffer.alloc(bytes);
  const words = new Uint32Array(data.buffer, data.byteOffset, bytes / 4);
  for (let i = 0; i < words.length; i += 1) words[i] = mix((Math.imul(i, 0x9e3779b1) + key) | 0);
  return data;
}

/** SHA-256 of `diskData`, hexadecimal: what a disk that was filled with the key must give. */
export function diskDigest(key: number, bytes: number): string {
  return createHash('sha256').update(diskData(key, bytes)).digest('hex');
}

function mix(word: number): number {
  let x = word;
  x ^= x >>> 16;
  x = Math.imul(x, 0x85ebca6b);
  x ^= x >>> 13;
  x = Math.imul(x, 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
