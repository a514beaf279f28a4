import { CheckFailure } from '../../../lab/check.js';
import type { BareCheck, BareContext } from './bare-check.js';
import { type AccessSize, type BareRng, equal, hex, RNG, SEED, shown } from './bare-rng.js';

/** Every size at every odd place; the device has to live and to seed as before. */
export const sizesCheck: BareCheck = {
  id: 'access-sizes',
  line: 'device-registers',
  title: 'accesses of 1, 2, 4 and 8 bytes, aligned and not, do no harm',
  machine: 'own',
  run: sizes,
};

const SIZES: readonly AccessSize[] = [1, 2, 4, 8];

async function sizes(context: BareContext): Promise<void> {
  const { seeds, learnt, prove, note } = context;
  const [rng] = context.devices;
  const size = Number(rng.bar.size);
  const places = [...Array(9).keys(), 0xc, 0x10, 0x40, 0x7fc, ...[8, 4, 2, 1].map((back) => size - back)];
  const offsets = [...new Set(places)].filter((offset) => offset >= 0 && offset < size);
  for (const width of SIZES) {
    for (const offset of offsets) await rng.readSized(offset, width);
    for (const offset of offsets) await rng.write(offset, width, 1);
  }
  prove(
    `${offsets.length * SIZES.length} reads and as many writes of 1 at offsets ${offsets.map(hex).join(', ')}`,
  );
  for (const line of await habits(rng, seeds.main)) note(line);
  if (!learnt.repeats) return prove(`RNG still answers: ${shown(await rng.numbers(4))}`);
  const first = await rng.sequence(seeds.main, 8);
  const second = await rng.sequence(seeds.main, 8);
  if (!equal(first, second)) throw noLongerRepeats(seeds.main, first, second);
  prove(`afterwards seed ${hex(seeds.main)} gives ${shown(first)}, twice`);
  const before = learnt.sequences.get(seeds.main)?.slice(0, 8) ?? first;
  if (!equal(first, before))
    note(`these are not the numbers of before (${shown(before)}): a register was changed`);
}

/** What accesses of other sizes give; the exercise does not say, so nobody is judged by it. */
async function habits(rng: BareRng, seed: number): Promise<string[]> {
  const lines: string[] = [];
  for (const width of SIZES.filter((candidate) => candidate !== 4)) {
    await rng.seed(seed);
    const values = [await rng.readSized(RNG, width), await rng.readSized(RNG, width)];
    lines.push(`${width}-byte reads of RNG give ${values.map(hex).join(', ')}`);
  }
  await rng.write(SEED, 8, seed);
  return lines;
}

function noLongerRepeats(seed: number, first: readonly number[], second: readonly number[]): CheckFailure {
  return new CheckFailure(
    'after accesses of other sizes seeding no longer repeats',
    [`seed ${hex(seed)}: ${shown(first)}`, `again:     ${shown(second)}`],
    'accesses of other sizes than 4 bytes must be ignored, or served without touching anything else',
  );
}
