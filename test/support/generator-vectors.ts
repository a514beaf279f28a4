/** Numbers of the device's generators that somebody else has published. */
export interface PublishedVector {
  readonly algorithm: string;
  /** Who says so, as part of a sentence. */
  readonly source: string;
  /** What is written to SEED. */
  readonly seed: number;
  /** How many numbers of the sequence come before. */
  readonly skip: number;
  readonly numbers: readonly number[];
}

export const publishedVectors: readonly PublishedVector[] = [
  {
    algorithm: 'libc',
    source: 'the exercise gives for rand() of glibc',
    seed: 0x42,
    skip: 0,
    numbers: [286129175, 1594929109, 971802288, 222134722, 1335014133],
  },
  {
    algorithm: 'libc',
    source: 'the exercise gives for rand() of glibc, seed 0',
    seed: 0,
    skip: 0,
    numbers: [1804289383, 846930886, 1681692777, 1714636915, 1957747793],
  },
  {
    algorithm: 'xorshift64star',
    source: 'Rosetta Code asks of "Pseudo-random numbers/Xorshift star"',
    seed: 1234567,
    skip: 0,
    numbers: [3540625527, 2750739987, 4037983143, 1993361440, 3809424708],
  },
  {
    algorithm: 'pcg32',
    source: 'the demonstration of the PCG library prints for pcg32_srandom(42, 54)',
    seed: 42,
    skip: 0,
    numbers: [0xa15c02b7, 0x7b47f409, 0xba1d3330, 0x83d2f293, 0xbfa4784b, 0xcbed606e],
  },
  {
    algorithm: 'mt19937',
    source: 'ISO C++ requires of std::mt19937 ([rand.predef]: the 10000th number, default seed)',
    seed: 5489,
    skip: 9999,
    numbers: [4123659995],
  },
];
