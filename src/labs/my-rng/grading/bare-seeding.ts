import { setTimeout as delay } from 'node:timers/promises';
import { CheckFailure } from '../../../lab/check.js';
import { type BareCheck, type BareContext, Blocked } from './bare-check.js';
import { type BareRng, during, equal, hex, shown } from './bare-rng.js';

/** Seeding, on a machine where nothing else was done before. */
export const seedingChecks: readonly BareCheck[] = [
  {
    id: 'seed-repeats',
    line: 'device-repeat-seed',
    title: 'writing the same seed again starts the same sequence again, whatever was seeded in between',
    machine: 'first',
    run: repeats,
  },
  {
    id: 'numbers-vary',
    line: 'device-repeat-seed',
    title: 'successive reads of RNG give different numbers',
    machine: 'first',
    run: vary,
  },
  {
    id: 'seeds-differ',
    line: 'device-repeat-seed',
    title: 'different seeds start different sequences, and all 32 bits of a seed count',
    machine: 'first',
    run: differ,
  },
];

/** The last check of the lane: by then the clock shows another second, or soon will. */
export const otherProcessCheck: BareCheck = {
  id: 'seed-repeats-in-another-qemu',
  line: 'device-repeat-seed',
  title: 'another QEMU, at another time, gives the same sequence for the same seed',
  machine: 'own',
  run: otherProcess,
};

/** Numbers compared per seed. */
const LENGTH = 16;

const SAMPLE = 256;

/** glibc's time() runs on the kernel's coarse clock, which may be this many milliseconds late. */
const CLOCK_TICK = 15;

async function repeats({ devices: [rng], seeds, learnt, prove }: BareContext): Promise<void> {
  learnt.seededAt = Date.now();
  for (const seed of seeds.all) learnt.sequences.set(seed, await rng.sequence(seed, LENGTH));
  for (const seed of [...seeds.all].reverse()) {
    const first = learnt.sequences.get(seed) ?? [];
    expectSame(seed, first, await rng.sequence(seed, LENGTH), {
      fact: `seeding with ${hex(seed)} again does not give the same numbers again`,
      before: 'the first time',
      now: 'the second time',
      hint: 'a write to offset 0x4 must restart the generator from the written value and from nothing else',
    });
    prove(`seed ${hex(seed)}: ${shown(first)}, twice`);
  }
  learnt.repeats = true;
}

async function vary({ devices: [rng], seeds, learnt, prove }: BareContext): Promise<void> {
  const numbers = await rng.sequence(seeds.main, SAMPLE);
  const different = new Set(numbers).size;
  // ten different ones among 256 are what even a 4-bit generator gives
  if (different >= 10 && numbers.some((value, index) => index > 0 && value !== numbers[index - 1])) {
    learnt.varies = true;
    prove(`${different} different numbers in ${SAMPLE} reads after seed ${hex(seeds.main)}`);
    return;
  }
  throw new CheckFailure(
    different === 1 ? 'every read of RNG gives the same number' : 'RNG gives hardly any different numbers',
    [`seed ${hex(seeds.main)}: ${shown(numbers, 8)}`, `different numbers in ${SAMPLE} reads: ${different}`],
    'a read at offset 0x0 must give the next number of the generator, not a stored one',
  );
}

async function differ({ devices: [rng], seeds, learnt, prove, note }: BareContext): Promise<void> {
  const sequences = [...learnt.sequences];
  if (sequences.length < seeds.all.length) throw new Blocked('the sequences to compare are missing');
  for (const [index, [seed, numbers]] of sequences.entries()) {
    for (const [other, others] of sequences.slice(index + 1)) {
      if (!equal(numbers, others)) continue;
      if (seed + other === 1) note('seeds 0 and 1 start the same sequence, as in the C library');
      else throw sameSequence(seed, other, numbers);
    }
  }
  prove(`${sequences.length} seeds, as many sequences: ${seeds.all.map(hex).join(', ')}`);
  const numbers = await rng.sequence(seeds.main, LENGTH);
  for (const bit of [31, 16, 8, 0]) {
    const other = (seeds.main ^ (1 << bit)) >>> 0;
    if (!equal(numbers, await rng.sequence(other, LENGTH))) prove(`bit ${bit} of the seed counts`);
    // generators that want an odd state set it
    else if (bit === 0) note('the lowest bit of the seed does not count');
    else throw sameSequence(seeds.main, other, numbers, bit);
  }
}

async function otherProcess(context: BareContext): Promise<void> {
  const { machine, devices, learnt, seeds, prove, signal } = context;
  if (!learnt.repeats) throw new Blocked('seeding does not even repeat within one QEMU');
  // A device that takes the virtual clock into account sees another time …
  await during('the clock moving on by 1.5 s', machine.qtest.clockStep(1_500_000_000));
  // … and so does one that asks time(), whose unit is the second.
  const nextSecond = (Math.floor(learnt.seededAt / 1000) + 1) * 1000 + CLOCK_TICK;
  await delay(Math.max(0, nextSecond - Date.now()), undefined, { signal });
  learnt.repeats = false; // until it is seen to
  await compareWithFirst(devices[0], seeds.all, learnt.sequences);
  learnt.repeats = true;
  prove(`${seeds.all.length} seeds give the same ${LENGTH} numbers each as in the QEMU before`);
}

async function compareWithFirst(
  rng: BareRng,
  seeds: readonly number[],
  sequences: ReadonlyMap<number, readonly number[]>,
): Promise<void> {
  for (const seed of seeds) {
    expectSame(seed, sequences.get(seed) ?? [], await rng.sequence(seed, LENGTH), {
      fact: `seed ${hex(seed)} gives other numbers in another QEMU process`,
      before: 'first QEMU',
      now: 'second QEMU',
      hint: 'the sequence must follow from the seed alone: not from the time, an address, or what was there before',
    });
  }
}

interface Comparison {
  readonly fact: string;
  readonly before: string;
  readonly now: string;
  readonly hint: string;
}

function expectSame(
  seed: number,
  wanted: readonly number[],
  got: readonly number[],
  { fact, before, now, hint }: Comparison,
): void {
  if (equal(wanted, got)) return;
  const evidence = [
    `write ${hex(seed)} to offset 0x4, then ${LENGTH} reads of offset 0x0`,
    `expected (${before}): ${shown(wanted)}`,
    `actual (${now}): ${shown(got)}`,
  ];
  throw new CheckFailure(fact, evidence, hint);
}

function sameSequence(seed: number, other: number, numbers: readonly number[], bit?: number): CheckFailure {
  return new CheckFailure(
    `seeds ${hex(seed)} and ${hex(other)} start the same sequence`,
    [`both: ${shown(numbers)}`, ...(bit === undefined ? [] : [`they differ only in bit ${bit}`])],
    bit === undefined
      ? 'the write function must hand the written value to the generator'
      : 'the seed loses bits: keep it in a uint32_t on its whole way from the write function to the generator',
  );
}
