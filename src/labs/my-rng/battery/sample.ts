import { endianness } from 'node:os';

/** Random numbers to be looked at: as words, and as the stream of their bits. */
export interface Sample {
  /** Without the bits above `width`. */
  readonly words: Uint32Array;
  /** Bits of a number that are random; those above are dropped. */
  readonly width: number;
  /** A bit each, the most significant one of each word first. */
  readonly bits: Uint8Array;
}

/**
 * Takes bytes as little-endian 32-bit words, of which `width` low bits count; what remains at the end is left out.
 *
 * @param width 1 to 32: `rand()` of the C library, for instance, gives numbers of 31 bits, whose top bit is always 0.
 */
export function sampleOf(bytes: Uint8Array, width: number): Sample {
  const mask = width === 32 ? 0xffff_ffff : 2 ** width - 1;
  const words = littleEndianWords(bytes).map((word) => word & mask);
  const bits = new Uint8Array(words.length * width);
  let at = 0;
  for (const word of words) {
    for (let bit = width - 1; bit >= 0; bit -= 1) bits[at++] = (word >>> bit) & 1;
  }
  return { words, width, bits };
}

function littleEndianWords(bytes: Uint8Array): Uint32Array {
  const copy = Buffer.from(bytes.subarray(0, bytes.length - (bytes.length % 4)));
  if (endianness() === 'BE') copy.swap32();
  return new Uint32Array(Uint8Array.from(copy).buffer);
}
