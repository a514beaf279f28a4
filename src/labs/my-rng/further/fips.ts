/** Bytes of one block of the tests. */
export const FIPS_BLOCK = 2500;

/** Bounds of FIPS 140-2 (change notice 1), for 20 000 bits; those of runs by length 1, 2, 3, 4, 5, 6 and more. */
const ONES = { least: 9726, most: 10274 };
const POKER = { least: 2.16, most: 46.17 };
const RUNS = [
  { least: 2315, most: 2685 },
  { least: 1114, most: 1386 },
  { least: 527, most: 723 },
  { least: 240, most: 384 },
  { least: 103, most: 209 },
  { least: 103, most: 209 },
];
const LONGEST = 25;

/**
 * The tests of FIPS 140-2 that a block of 2500 bytes fails: none, or some of `monobit`, `poker`, `runs`, `long run`.
 * A perfect generator fails one in about 1250 blocks. Pure.
 */
export function fipsFailures(block: Uint8Array): string[] {
  const bits = Array.from(block).flatMap((byte) => BITS.map((bit) => (byte >> bit) & 1));
  const ones = bits.reduce((sum, bit) => sum + bit, 0);
  const runs = runLengths(bits);
  const longest = runs.reduce((most, { length }) => Math.max(most, length), 0);
  return [
    ...(within(ones, ONES) ? [] : ['monobit']),
    ...(within(poker(block), POKER) ? [] : ['poker']),
    ...(RUNS.every((bounds, i) => [0, 1].every((bit) => within(countRuns(runs, bit, i), bounds)))
      ? []
      : ['runs']),
    ...(longest <= LONGEST ? [] : ['long run']),
  ];
}

const BITS = [7, 6, 5, 4, 3, 2, 1, 0];

interface Bounds {
  readonly least: number;
  readonly most: number;
}

function within(value: number, { least, most }: Bounds): boolean {
  return value >= least && value <= most;
}

/** How unequally the 16 values of half a byte occur. */
function poker(block: Uint8Array): number {
  const counts = new Array<number>(16).fill(0);
  for (const byte of block) for (const half of [byte >> 4, byte & 15]) counts[half] = (counts[half] ?? 0) + 1;
  const squares = counts.reduce((sum, count) => sum + count * count, 0);
  const halves = 2 * block.length;
  return (16 / halves) * squares - halves;
}

interface Run {
  readonly bit: number;
  readonly length: number;
}

function runLengths(bits: readonly number[]): Run[] {
  const runs: Run[] = [];
  let begin = 0;
  for (let i = 1; i <= bits.length; i += 1) {
    if (bits[i] === bits[begin]) continue;
    runs.push({ bit: bits[begin] ?? 0, length: i - begin });
    begin = i;
  }
  return runs;
}

/** Runs of length `index` + 1; the last class holds all that are longer. */
function countRuns(runs: readonly Run[], bit: number, index: number): number {
  const last = RUNS.length - 1;
  return runs.filter((run) => run.bit === bit && Math.min(run.length - 1, last) === index).length;
}
