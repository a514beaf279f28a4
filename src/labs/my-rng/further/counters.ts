import type { CheckTarget } from '../../../lab/check.js';

/** What a device itself has counted since power-on, as QEMU knows it: the guest cannot change that. */
const COUNTERS = ['reads', 'seeds', 'wide-reads', 'bulk-bytes', 'bulk-descriptors', 'interrupts'] as const;

export type Counters = Readonly<Record<(typeof COUNTERS)[number], number>>;

/** @param id QEMU's id of the device. */
export async function countersOf({ machine }: Pick<CheckTarget, 'machine'>, id: string): Promise<Counters> {
  return await countersAt({ machine }, `/machine/peripheral/${id}`);
}

/** The same for the basic device, which has no id. */
export async function basicCounters({ machine }: Pick<CheckTarget, 'machine'>): Promise<Counters> {
  const folder = '/machine/peripheral-anon';
  const all = (await machine.monitor.execute('qom-list', { path: folder })) as readonly {
    readonly name: string;
    readonly type: string;
  }[];
  const name = all.find(({ type }) => type === 'child<my_rng>')?.name;
  return await countersAt({ machine }, `${folder}/${name}`);
}

async function countersAt({ machine }: Pick<CheckTarget, 'machine'>, path: string): Promise<Counters> {
  const entries: [string, number][] = [];
  for (const property of COUNTERS)
    entries.push([property, Number(await machine.monitor.execute('qom-get', { path, property }))]);
  return Object.fromEntries(entries) as Counters;
}

/** What was counted between the two. */
export function countedSince(before: Counters, after: Counters): Counters {
  return Object.fromEntries(COUNTERS.map((name) => [name, after[name] - before[name]])) as Counters;
}
