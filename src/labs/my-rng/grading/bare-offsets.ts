import { CheckFailure } from '../../../lab/check.js';
import { type BareCheck, type BareContext, comparable } from './bare-check.js';
import { type BareRng, equal, hex, shown } from './bare-rng.js';

/** The rest of the BAR. */
export const offsetCheck: BareCheck = {
  id: 'address-is-looked-at',
  line: 'device-registers',
  title: 'only offset 0x0 is RNG and only offset 0x4 is SEED',
  machine: 'own',
  run: otherOffsets,
};

const OFFSETS = [0x8, 0xc, 0x10, 0x40, 0x100, 0x7fc, 0xffc];

/** So many further registers may give numbers or take seeds, such as both halves of a 64-bit one. */
const TOLERATED = 2;

interface Found {
  readonly offset: number;
  readonly actsAsRng: boolean;
  readonly actsAsSeed: boolean;
  /** What else it does, in words; empty for an offset that does nothing. */
  readonly effects: readonly string[];
}

async function otherOffsets(context: BareContext): Promise<void> {
  const { learnt, prove, note, enhancement } = context;
  const [{ bar }] = context.devices;
  const offsets = OFFSETS.filter((offset) => offset + 4 <= Number(bar.size));
  const found = comparable(learnt)
    ? await probeAll(context, offsets)
    : await lookAll(context.devices[0], offsets, learnt.varies);
  const asRng = found.filter(({ actsAsRng }) => actsAsRng);
  const asSeed = found.filter(({ actsAsSeed }) => actsAsSeed);
  const groups = byEffect(found);
  const evidence = groups.map(describe);
  if (asRng.length > TOLERATED) throw ignored('reads', asRng, evidence);
  if (asSeed.length > TOLERATED) throw ignored('writes', asSeed, evidence);
  for (const line of evidence) note(line);
  // what many offsets do alike is how the device answers elsewhere, not a register
  const further = groups.filter((group) => group.offsets.length <= TOLERATED);
  for (const group of further) enhancement(`further register: ${describe(group)}`, 'interface');
  if (!comparable(learnt))
    note('sequences cannot be compared, so it is not seen what writes to these offsets do');
  const rest = found.filter(({ actsAsRng, actsAsSeed }) => !actsAsRng && !actsAsSeed);
  const what = comparable(learnt) ? 'no number is given or lost, no seed is taken' : 'reads are steady';
  prove(`${list(rest)}: ${what}`);
}

interface Group {
  readonly effect: string;
  readonly offsets: Found[];
}

function byEffect(found: readonly Found[]): Group[] {
  const groups = new Map<string, Found[]>();
  for (const one of found) {
    for (const effect of one.effects) groups.set(effect, [...(groups.get(effect) ?? []), one]);
  }
  return [...groups].map(([effect, offsets]) => ({ effect, offsets }));
}

function describe({ effect, offsets }: Group): string {
  return `${list(offsets)}: ${effect}`;
}

function list(found: readonly Found[]): string {
  return `offset${found.length === 1 ? '' : 's'} ${found.map(({ offset }) => hex(offset)).join(', ')}`;
}

function ignored(
  accesses: 'reads' | 'writes',
  found: readonly Found[],
  evidence: readonly string[],
): CheckFailure {
  const [register, what] =
    accesses === 'reads' ? ['0x0', 'gives random numbers'] : ['0x4', 'seeds the generator'];
  return new CheckFailure(
    `the device ignores the address of ${accesses}`,
    [`expected: only offset ${register} ${what}`, `actual:   so does each of ${list(found)}`, ...evidence],
    `your ${accesses === 'reads' ? 'read' : 'write'} function does not look at addr: do this only when addr is ${register}`,
  );
}

/** Probes offset by offset; a register that changed how the device works costs a new machine, not a verdict. */
async function probeAll(context: BareContext, offsets: readonly number[]): Promise<Found[]> {
  const found: Found[] = [];
  let [rng] = context.devices;
  for (const offset of offsets) {
    const before = await learn(rng, context);
    const one = await probe(rng, offset, context, before);
    const after = await learn(rng, context);
    const changed = !equal(before.main, after.main) || !equal(before.small, after.small);
    found.push(changed ? { ...one, effects: [...one.effects, 'a write changes what seeds mean'] } : one);
    if (changed) rng = await context.fresh();
  }
  return found;
}

interface Sequences {
  readonly main: readonly number[];
  readonly small: readonly number[];
}

async function learn(rng: BareRng, { seeds }: BareContext): Promise<Sequences> {
  return { main: await rng.sequence(seeds.main, 5), small: await rng.sequence(seeds.small, 5) };
}

async function probe(rng: BareRng, offset: number, { seeds }: BareContext, known: Sequences): Promise<Found> {
  const effects: string[] = [];
  await rng.sequence(seeds.main, 1);
  const value = await rng.read(offset);
  const next = await rng.numbers(2);
  const gives = value === known.main[1];
  const takes = !equal(next, known.main.slice(1, 3));
  if (gives) effects.push(`a read gives the next random number${takes ? ' and takes it away' : ''}`);
  else if (takes) effects.push(`reads as ${hex(value)} and takes a number away`);
  else if (value !== 0) effects.push(`reads as ${hex(value)}`);
  await rng.sequence(seeds.main, 1);
  await rng.write(offset, 4, seeds.small);
  const after = await rng.numbers(2);
  const actsAsSeed = equal(after, known.small.slice(0, 2));
  if (actsAsSeed) effects.push('a write seeds the generator');
  else if (!equal(after, known.main.slice(1, 3)))
    effects.push(`a write changes the next numbers to ${shown(after)}`);
  return { offset, actsAsRng: gives || takes, actsAsSeed, effects };
}

/** What can be seen of a device whose sequences do not repeat: whether other offsets read like RNG. */
async function lookAll(rng: BareRng, offsets: readonly number[], varies: boolean): Promise<Found[]> {
  const found: Found[] = [];
  const [number] = await rng.numbers(1);
  for (const offset of offsets) {
    const values = [
      await rng.read(offset),
      await rng.read(offset),
      await rng.read(offset),
      await rng.read(offset),
    ];
    const [value = 0] = values;
    const steady = new Set(values).size < 3;
    const actsAsRng = varies ? !steady : value !== 0 && value !== 0xffffffff && value === number;
    const effects = actsAsRng
      ? [`reads like RNG: ${shown(values)}`]
      : value === 0
        ? []
        : [`reads as ${hex(value)}`];
    found.push({ offset, actsAsRng, actsAsSeed: false, effects });
  }
  return found;
}
