import { glibcRandom } from '../glibc-random.js';

/** The first `count` numbers, unsigned 32-bit, that a device gives after a seed. */
export type Sequence = (seed: number, count: number) => ArrayLike<number>;

/** By the value of the device's property `algorithm`. Computed here from the authors' definitions. */
export const sequences: Readonly<Record<string, Sequence>> = {
  libc: glibcRandom,
  xorshift64star,
  pcg32,
  mt19937,
};

/** What `read()` of a node gives after a seed: the numbers, little-endian. */
export function sequenceBytes(algorithm: string, seed: number, bytes: number): Buffer {
  const sequence = sequences[algorithm];
  if (sequence === undefined) throw new TypeError(`no sequence ${algorithm}`);
  const numbers = sequence(seed, Math.ceil(bytes / 4));
  const data = Buffer.alloc(4 * numbers.length);
  for (let i = 0; i < numbers.length; i += 1) data.writeUInt32LE(numbers[i] ?? 0, 4 * i);
  return data.subarray(0, bytes);
}

const MASK = 2n ** 64n - 1n;

/** The state must not be 0: seed 0 stands for the golden ratio. */
const ZERO = 0x9e3779b97f4a7c15n;

/** xorshift64*, shifts 12, 25, 27; the upper half of each product (S. Vigna, ACM TOMS 42(4), 2016). */
function xorshift64star(seed: number, count: number): Uint32Array {
  let x = seed === 0 ? ZERO : BigInt(seed);
  return Uint32Array.from({ length: count }, () => {
    x ^= x >> 12n;
    x = (x ^ (x << 25n)) & MASK;
    x ^= x >> 27n;
    return Number(((x * 0x2545f4914f6cdd1dn) & MASK) >> 32n);
  });
}

/** Stream 54, as in the demonstration of the authors. */
const INCREMENT = 2n * 54n + 1n;

/** PCG-XSH-RR 64/32, seeded as by `pcg32_srandom_r()` (M. E. O'Neill, HMC-CS-2014-0905). */
function pcg32(seed: number, count: number): Uint32Array {
  const step = (x: bigint) => (x * 6364136223846793005n + INCREMENT) & MASK;
  let state = step(step(0n) + BigInt(seed));
  return Uint32Array.from({ length: count }, () => {
    const word = Number((((state >> 18n) ^ state) >> 27n) & 0xffffffffn);
    const turn = Number(state >> 59n);
    state = step(state);
    return (word >>> turn) | (word << (-turn & 31));
  });
}

const WORDS = 624;

/** MT19937, seeded as by `init_genrand()` of 2002 (M. Matsumoto and T. Nishimura, ACM TOMACS 8(1), 1998). */
function mt19937(seed: number, count: number): Uint32Array {
  const words = Uint32Array.of(seed, ...new Array<number>(WORDS - 1).fill(0));
  const at = (i: number) => words[i % WORDS] ?? 0;
  for (let i = 1; i < WORDS; i += 1) words[i] = Math.imul(1812433253, at(i - 1) ^ (at(i - 1) >>> 30)) + i;
  return Uint32Array.from({ length: count }, (_, n) => {
    const x = (at(n) & 0x80000000) | (at(n + 1) & 0x7fffffff);
    words[n % WORDS] = at(n + 397) ^ (x >>> 1) ^ (x & 1 ? 0x9908b0df : 0);
    return tempered(at(n));
  });
}

function tempered(word: number): number {
  let y = word;
  y ^= y >>> 11;
  y ^= (y << 7) & 0x9d2c5680;
  y ^= (y << 15) & 0xefc60000;
  return y ^ (y >>> 18);
}
