import { type CheckContext, CheckFailure } from '../../../lab/check.js';
import { findPciDevice } from '../../../monitor/parse.js';
import { eventsOf, numbersOf } from '../probe.js';
import { bootedCheck, probe } from './booted-guard.js';
import { explainNumbers, isFaithful, type NumberClues, type Round, swap } from './booted-numbers.js';
import type { Bench, BootedCheck, BootedFindings, BootedSetup } from './booted-setup.js';

const COUNT = 16;
/** Asked of the oracle beyond what is compared, to recognise skipped numbers. */
const MORE = 2 * COUNT + 2;

/** What the driver does with seeds and numbers, against the device itself. */
export function sequenceChecks(setup: BootedSetup, findings: BootedFindings): BootedCheck[] {
  const common = { line: 'driver-repeat-seed', needs: ['driver-registers'] } as const;
  return [
    bootedCheck(setup, findings, {
      ...common,
      id: 'driver-sequences',
      title: "seeds chosen for this run give the device's numbers from user space, each time again",
      run: sequences,
    }),
    bootedCheck(setup, findings, {
      ...common,
      id: 'driver-reads-device',
      title: 'each number was read from the device, as the host itself sees it',
      needs: ['driver-sequences'],
      run: readsDevice,
    }),
  ];
}

/** Each seed twice, never in the same order, so that nothing but the seed can decide. */
export function seedOrder(nonce: Buffer): number[] {
  const [a, b] = [nonce.readUInt32LE(0), nonce.readUInt32LE(4)];
  const large = (nonce.readUInt32LE(8) | 0x8000_0000) >>> 0;
  return [a, b, large, 0x42, 0, large, a, 0, b, 0x42];
}

async function sequences(bench: Bench): Promise<void> {
  const { setup, findings, context } = bench;
  const rounds: Round[] = [];
  for (const seed of seedOrder(context.nonce)) {
    const expected = await setup.oracle.numbers(seed, MORE);
    rounds.push({ seed, actual: await sequenceOf(bench, seed, COUNT), expected });
  }
  if (!isFaithful(rounds)) throw await wrongNumbers(bench, rounds);
  findings.faithful = true;
  const seeds = [...new Set(rounds.map(({ seed }) => `0x${seed.toString(16)}`))].join(', ');
  context.prove(`the seeds ${seeds}, each twice: ${COUNT} numbers each, all equal to the device's`);
}

/** The first `count` numbers after a seed, as user space gets them. */
async function sequenceOf(bench: Bench, seed: number, count: number): Promise<number[]> {
  const events = await probe(bench, 'sequence', seed, count);
  const problem = eventsOf(events, 'seed')[0]?.error;
  if (problem !== null) {
    throw new CheckFailure(
      `seeding with ${seed} failed with ${problem ?? 'no answer'}`,
      [],
      "the command is _IOW('q', 1, unsigned int) = 0x40047101; its argument is the address of the seed",
    );
  }
  const failed = eventsOf(events, 'numbers')[0]?.error;
  if (failed !== null && failed !== undefined) {
    throw new CheckFailure(
      `getting a number failed with ${failed}`,
      [],
      "the command is _IOR('q', 1, unsigned int) = 0x80047101; its argument is the address that receives the number",
    );
  }
  const numbers = numbersOf(events);
  if (numbers.length === count) return numbers;
  throw new CheckFailure(`of ${count} numbers the probe reported ${numbers.length}`);
}

async function wrongNumbers(bench: Bench, rounds: readonly Round[]): Promise<CheckFailure> {
  const wrong = rounds.find((round) => !isFaithful([round])) as Round;
  const clues: NumberClues = {
    address: await deviceAddress(bench.context),
    otherSeeds: await otherSeeds(bench, rounds[0]?.seed ?? 0),
  };
  const show = (numbers: readonly number[]) => numbers.slice(0, 6).join(' ');
  const again = rounds.findLast(({ seed }) => seed === wrong.seed) as Round;
  const evidence = [
    `seed:          ${wrong.seed} (0x${wrong.seed.toString(16)})`,
    `expected:      ${show(wrong.expected)} …`,
    `actual:        ${show(wrong.actual)} …`,
    `the same seed again: ${show(again.actual)} …`,
  ];
  const fact = `after the seed ${wrong.seed} user space does not get the numbers of the device`;
  return new CheckFailure(fact, evidence, explainNumbers(rounds, clues));
}

/** What the device gives for seeds that a cast or a wrong byte order makes of this one. */
async function otherSeeds({ setup }: Bench, seed: number): Promise<Map<string, readonly number[]>> {
  const candidates: readonly (readonly [string, number])[] = [
    ['with its bytes in reverse order', swap(seed)],
    ['cut to its lowest byte', seed & 0xff],
    ['cut to its lower two bytes', seed & 0xffff],
    ['without its highest bit', seed & 0x7fff_ffff],
    ['0', 0],
    ['1', 1],
  ];
  const found = new Map<string, readonly number[]>();
  for (const [words, value] of candidates) {
    if (value !== seed) found.set(words, await setup.oracle.numbers(value, COUNT));
  }
  return found;
}

/** Where firmware or the kernel put BAR 0, as the machine says. */
async function deviceAddress({ machine }: CheckContext): Promise<number | undefined> {
  return findPciDevice(await machine.monitor.execute('query-pci'), 0x1234, 0xcafe)?.regions[0]?.address;
}

/** A driver that computes numbers itself, keeps them, or reads ahead, is seen from outside of the guest. */
async function readsDevice(bench: Bench): Promise<void> {
  const { setup, context } = bench;
  if (setup.witness !== undefined) await countAccesses(bench, setup.witness);
  const address = await deviceAddress(context);
  if (address !== undefined) await readBetween(bench, address);
  else if (setup.witness === undefined)
    throw new CheckFailure('BAR 0 of the device 1234:cafe has no address on this machine');
}

async function countAccesses(bench: Bench, witness: NonNullable<BootedSetup['witness']>): Promise<void> {
  const before = await witness.counters();
  await sequenceOf(bench, bench.context.nonce.readUInt32LE(12), COUNT);
  const after = await witness.counters();
  const reads = after.reads - before.reads;
  const seeds = after.seeds - before.seeds;
  const evidence = [
    `user space: 1 seed, ${COUNT} numbers`,
    `the device: ${seeds} seeds, ${reads} reads of RNG`,
  ];
  if (reads < COUNT) {
    const fact = `user space got ${COUNT} numbers, but the device was read only ${reads} times`;
    throw new CheckFailure(fact, evidence, INVENTED);
  }
  if (seeds < 1) {
    const fact = 'user space seeded the generator, but nothing was written to SEED of the device';
    throw new CheckFailure(fact, evidence, 'write the seed to SEED (offset 0x4) with iowrite32()');
  }
  if (reads > COUNT || seeds > 1) bench.context.note(`more accesses than needed: ${evidence.join('; ')}`);
  bench.context.prove(`the device counted ${seeds} seed and ${reads} reads for ${COUNT} numbers`);
}

const INVENTED = 'each number has to be read from RNG (offset 0x0) of the device when it is asked for';
const BEFORE = 3;
const AFTER = 2;

/** The host reads RNG itself between two reads of the guest: its number has to be the next of the sequence. */
async function readBetween(bench: Bench, address: number): Promise<void> {
  const { setup, context } = bench;
  const seed = context.nonce.readUInt32LE(20);
  const expected = await setup.oracle.numbers(seed, MORE);
  const first = await sequenceOf(bench, seed, BEFORE);
  const witnessed = await readRegister(context, address);
  const last = numbersOf(await probe(bench, 'read', AFTER));
  const place = placeNearest(expected, witnessed, BEFORE);
  const evidence = [
    `the sequence of seed ${seed}: ${expected.slice(0, BEFORE + 1 + AFTER).join(' ')} …`,
    `the guest read ${first.join(' ')}, then the host read ${witnessed}, then the guest read ${last.join(' ')}`,
  ];
  if (place === -1) {
    const fact = 'the device itself is not where the numbers that user space got would have left it';
    throw new CheckFailure(fact, evidence, INVENTED);
  }
  if (place < BEFORE) {
    const fact = `user space got ${BEFORE} numbers, but the device had given only ${place}`;
    throw new CheckFailure(fact, evidence, INVENTED);
  }
  if (place > BEFORE)
    context.note(`the driver reads ${place - BEFORE} numbers ahead: ${evidence.join('; ')}`);
  else if (last.some((value, i) => value !== expected[place + 1 + i])) {
    throw new CheckFailure("the numbers do not go on after the host's own read", evidence, INVENTED);
  }
  context.prove(evidence.join('; '));
}

/**
 * Where a number stands in a sequence, -1 if nowhere. Pure. Numbers of few bits come again soon: the place where it
 * ought to be goes before all others, and a later one before an earlier, which would be held against the driver.
 */
export function placeNearest(sequence: readonly number[], number: number, ought: number): number {
  const later = sequence.indexOf(number, ought);
  return later === -1 ? sequence.indexOf(number) : later;
}

async function readRegister({ machine }: CheckContext, address: number): Promise<number> {
  const line = { 'command-line': `xp /1uw 0x${address.toString(16)}` };
  const text = String(await machine.monitor.execute('human-monitor-command', line));
  return Number(/:\s+(\d+)/.exec(text)?.[1] ?? Number.NaN);
}
