import { CheckFailure } from '../../../lab/check.js';
import { type BareCheck, type BareContext, Blocked } from './bare-check.js';
import { type BareRng, equal, hex, RNG, SEED, shown } from './bare-rng.js';

/** The two registers and what they must not do. */
export const registerChecks: readonly BareCheck[] = [
  {
    id: 'rng-read-only',
    line: 'device-registers',
    title: 'a write to RNG changes nothing',
    machine: 'first',
    run: rngIsReadOnly,
  },
  {
    id: 'seed-write-only',
    line: 'device-registers',
    title: 'a read of SEED gives no random number and takes none away',
    machine: 'first',
    run: seedIsWriteOnly,
  },
];

async function rngIsReadOnly({ devices: [rng], seeds, learnt, prove }: BareContext): Promise<void> {
  if (!learnt.varies) throw new Blocked('the numbers do not change, so an influence on them cannot be seen');
  if (!learnt.repeats) {
    const { after: numbers } = await writeAmong(rng, seeds.main, seeds.other);
    if (new Set(numbers).size < 2) throw disturbed(seeds.other, [], numbers);
    return prove(`after a write of ${hex(seeds.other)} to RNG its reads still vary: ${shown(numbers)}`);
  }
  const wanted = await rng.sequence(seeds.main, 6);
  const seeded = await rng.sequence(seeds.other, 4);
  const { after } = await writeAmong(rng, seeds.main, seeds.other);
  if (equal(after, seeded)) {
    throw new CheckFailure(
      'a write to RNG (offset 0x0) seeds the generator',
      [
        `after a write of ${hex(seeds.other)} to offset 0x0: ${shown(after)}`,
        'that is the sequence of this seed',
      ],
      'the write function does not look at addr: seed only when addr is 0x4',
    );
  }
  if (!equal(after, wanted.slice(2))) throw disturbed(seeds.other, wanted.slice(2), after);
  prove(
    `seed ${hex(seeds.main)}, 2 reads, write of ${hex(seeds.other)} to offset 0x0: goes on with ${shown(after)}`,
  );
}

/** Seeds, takes two numbers, writes `value` to RNG, and takes four more. */
async function writeAmong(rng: BareRng, seed: number, value: number): Promise<{ after: number[] }> {
  await rng.sequence(seed, 2);
  await rng.write(RNG, 4, value);
  return { after: await rng.numbers(4) };
}

function disturbed(value: number, wanted: readonly number[], after: readonly number[]): CheckFailure {
  return new CheckFailure(
    'a write to RNG (offset 0x0) changes the numbers that follow',
    [
      ...(wanted.length === 0 ? [] : [`expected: ${shown(wanted)}`]),
      `actual:   ${shown(after)}, after a write of ${hex(value)} to offset 0x0`,
    ],
    'RNG is read-only: the write function has to ignore every addr but 0x4',
  );
}

async function seedIsWriteOnly(context: BareContext): Promise<void> {
  const { devices, seeds, learnt, prove, note } = context;
  const [rng] = devices;
  await rng.sequence(seeds.main, 2);
  const values = [await rng.read(SEED), await rng.read(SEED), await rng.read(SEED)];
  const after = await rng.numbers(4);
  const [value = 0] = values;
  if (new Set(values).size > 1) throw givesNumbers(values);
  if (value !== 0 && value !== seeds.main && looksRandom(value, after, learnt.sequences.get(seeds.main))) {
    throw givesNumbers(values);
  }
  if (value !== 0) note(`SEED reads as ${value === seeds.main ? 'the last seed' : hex(value)}`);
  if (!learnt.repeats) return prove(`three reads of offset 0x4 give ${hex(value)} each`);
  const wanted = (await rng.sequence(seeds.main, 6)).slice(2);
  if (equal(after, wanted))
    return prove(`three reads of offset 0x4 give ${hex(value)} and no number is lost`);
  throw new CheckFailure(
    'a read of SEED (offset 0x4) takes numbers away from RNG',
    [
      `seed ${hex(seeds.main)}, 2 reads of RNG, 3 reads of offset 0x4, then RNG again`,
      `expected: ${shown(wanted)}`,
      `actual:   ${shown(after)}`,
    ],
    'the read function must ask the generator only when addr is 0x0',
  );
}

function looksRandom(value: number, after: readonly number[], sequence: readonly number[] = []): boolean {
  return after.includes(value) || sequence.includes(value);
}

function givesNumbers(values: readonly number[]): CheckFailure {
  return new CheckFailure(
    'SEED (offset 0x4) gives random numbers when it is read',
    [`three reads of offset 0x4: ${shown(values)}`],
    'the read function does not look at addr: give a number only when addr is 0x0',
  );
}
