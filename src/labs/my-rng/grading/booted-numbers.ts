import { glibcRandom } from '../glibc-random.js';

/** One seed, what the driver gave after it, and what the device gives. */
export interface Round {
  readonly seed: number;
  readonly actual: readonly number[];
  /** Longer than `actual`, so that skipped numbers are recognised. */
  readonly expected: readonly number[];
}

/** What the host knows that helps to find a cause. */
export interface NumberClues {
  /** Where the machine has BAR 0 of the device. */
  readonly address?: number | undefined;
  /** The device's numbers after other seeds that a mistake could lead to: the seed in words → numbers. */
  readonly otherSeeds?: ReadonlyMap<string, readonly number[]>;
}

/** Whether every number is the device's. */
export function isFaithful(rounds: readonly Round[]): boolean {
  return rounds.every(({ actual, expected }) => actual.every((value, i) => value === expected[i]));
}

/** The likely cause of wrong numbers; what happened in every round counts. Pure. */
export function explainNumbers(rounds: readonly Round[], clues: NumberClues = {}): string {
  return (
    explainConstant(rounds, clues) ??
    explainInvented(rounds) ??
    explainTransform(rounds) ??
    explainSkipping(rounds) ??
    explainSeeding(rounds, clues) ??
    'the numbers are not those of the device: read RNG (offset 0x0) with one 32-bit read for each number, and write SEED (offset 0x4) with one 32-bit write'
  );
}

function explainConstant(rounds: readonly Round[], { address }: NumberClues): string | undefined {
  const [value, ...others] = new Set(rounds.flatMap(({ actual }) => actual));
  const place =
    address === undefined
      ? ''
      : `; on this machine BAR 0 of the device is at 0x${address.toString(16)}: find it by its PCI ids instead of using a fixed address`;
  if (rounds.every(({ seed, actual }) => actual.every((number) => number === seed))) {
    return 'every number is the seed itself: read RNG at offset 0x0, not the seed';
  }
  if (others.length > 0 && rounds.every(({ actual }) => new Set(actual).size === 1)) {
    return 'each get after a seed gives the same number: the driver keeps it instead of reading RNG for each get';
  }
  if (value === undefined || others.length > 0) return undefined;
  if (value === 0xffff_ffff) {
    return `every number is 0xffffffff: nothing answers at the address that the driver reads, or the device is not enabled${place}`;
  }
  if (value === 0) {
    return `every number is 0: the driver reads another place than RNG (offset 0x0 in BAR 0), or never copies what it read${place}`;
  }
  return `every number is ${value}: the driver does not read RNG for each number${place}`;
}

function explainInvented(rounds: readonly Round[]): string | undefined {
  const own = rounds.every(({ seed, actual }) => {
    const numbers = glibcRandom(seed, actual.length);
    return actual.every((value, i) => value === numbers[i]);
  });
  return own
    ? 'these are the numbers of rand() in the C library, not those of the device: the driver must read them from the device'
    : undefined;
}

type Transform = (value: number) => number;

const TRANSFORMS: readonly (readonly [Transform, string])[] = [
  [
    swap,
    'the bytes of each number are in reverse order: ioread32() and readl() swap already where it is needed',
  ],
  [
    (value) => value & 0xff,
    'only the lowest byte of each number arrives: read 32 bits and copy sizeof(unsigned int) bytes',
  ],
  [
    (value) => value & 0xffff,
    'only the lower two bytes of each number arrive: read 32 bits and copy sizeof(unsigned int) bytes',
  ],
  [
    (value) => value & 0x7fff_ffff,
    'the highest bit of each number is lost: the numbers are unsigned and have 32 bits',
  ],
  [(value) => value >>> 1, 'each number is shifted by one bit'],
  [(value) => ~value >>> 0, 'each number is inverted'],
];

function explainTransform(rounds: readonly Round[]): string | undefined {
  return TRANSFORMS.find(([transform]) =>
    rounds.every(({ actual, expected }) =>
      actual.every((value, i) => value === transform(expected[i] ?? 0) >>> 0),
    ),
  )?.[1];
}

/** The bytes of an unsigned 32-bit number in reverse order. */
export function swap(value: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes.readUInt32BE();
}

const MOST_SKIPPED = 4;

function explainSkipping(rounds: readonly Round[]): string | undefined {
  const matches = (place: (i: number) => number) =>
    rounds.every(({ actual, expected }) => {
      const known = actual.filter((_, i) => place(i) < expected.length);
      return known.length > 1 && known.every((value, i) => value === expected[place(i)]);
    });
  for (let skipped = 1; skipped <= MOST_SKIPPED; skipped += 1) {
    if (matches((i) => i + skipped)) {
      return `the sequence begins ${skipped} too late: seeding, opening or the copy itself must not read RNG`;
    }
  }
  if (matches((i) => 2 * i)) return 'every second number is missing: each get must read RNG exactly once';
  if (matches((i) => 2 * i + 1)) {
    return 'every second number is missing, the first included: each get must read RNG exactly once';
  }
  return undefined;
}

function explainSeeding(rounds: readonly Round[], { otherSeeds }: NumberClues): string | undefined {
  const first = rounds[0];
  if (first === undefined) return undefined;
  for (const [words, numbers] of otherSeeds ?? []) {
    if (first.actual.every((value, i) => value === numbers[i])) {
      return `after the seed ${first.seed} come the numbers of the seed ${words}: the value does not reach SEED (offset 0x4) as it is`;
    }
  }
  const shown = rounds.map(({ seed, actual }) => ({ seed, text: actual.join(' ') }));
  const repeats = shown.every(({ seed, text }) => shown.every((r) => r.seed !== seed || r.text === text));
  const different = new Set(shown.map(({ text }) => text)).size;
  if (repeats && different === 1) {
    return 'the numbers are the same after every seed: the seed does not reach SEED (offset 0x4) of the device';
  }
  if (!repeats) {
    return 'the same seed gives other numbers the second time: the seed does not reach SEED (offset 0x4), or something else reads RNG as well';
  }
  return undefined;
}
