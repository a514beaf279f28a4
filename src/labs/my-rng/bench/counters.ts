import type { Machine } from '../../../machine/machine.js';
import { flattenPci } from '../../../monitor/parse.js';

/** A my_rng of the machine, as QEMU knows it. */
export interface Device {
  /** Path in QEMU's tree of objects. */
  readonly path: string;
  /** Of the PCI bus. */
  readonly slot: number;
  readonly extended: boolean;
  /** Its interrupt is a message. */
  readonly message: boolean;
  readonly algorithm: string;
}

/** What a device counted since power-on. */
export interface Counters {
  /** Numbers that left it by any way, four bytes each. */
  readonly bytes: number;
  readonly accesses: number;
  readonly interrupts: number;
  /** Nanoseconds of the host, counted while `timing` is on. */
  readonly nanoseconds: number;
}

const IDENTITY = { vendor: 0x1234, device: 0xcafe };
const ANONYMOUS = '/machine/peripheral-anon';

/** All my_rng devices in the order of their PCI addresses, which is that of their nodes in the guest. */
export async function findDevices({ monitor }: Machine): Promise<Device[]> {
  const found = flattenPci(await monitor.execute('query-pci')).filter(
    ({ vendor, device }) => vendor === IDENTITY.vendor && device === IDENTITY.device,
  );
  const entries = await monitor.execute<{ name: string; type: string }[]>('qom-list', { path: ANONYMOUS });
  // devices without an id are numbered as they were made, and that is how they got their places on the bus
  const anonymous = entries
    .filter(({ type }) => type === 'child<my_rng>')
    .map(({ name }) => `${ANONYMOUS}/${name}`)
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  const devices: Device[] = [];
  for (const { id, slot } of found.sort((a, b) => a.slot - b.slot)) {
    const path = id === '' ? (anonymous.shift() ?? '') : `/machine/peripheral/${id}`;
    const get = <T>(property: string) => monitor.execute<T>('qom-get', { path, property });
    const extended = await get<boolean>('extended');
    devices.push({
      path,
      slot,
      extended,
      message: extended && (await get<boolean>('msi')),
      algorithm: await get('algorithm'),
    });
  }
  return devices;
}

/** Reads a device's counters; the guest should be still. */
export async function readCounters({ monitor }: Machine, { path }: Device): Promise<Counters> {
  const get = async (property: string) => Number(await monitor.execute('qom-get', { path, property }));
  const [reads = 0, wide = 0, bulk = 0, accesses = 0, interrupts = 0, nanoseconds = 0] = await Promise.all(
    ['reads', 'wide-reads', 'bulk-bytes', 'accesses', 'interrupts', 'device-ns'].map(get),
  );
  return { bytes: 4 * reads + 8 * wide + bulk, accesses, interrupts, nanoseconds };
}

/** What was counted between two readings. */
export function difference(before: Counters, after: Counters): Counters {
  return {
    bytes: after.bytes - before.bytes,
    accesses: after.accesses - before.accesses,
    interrupts: after.interrupts - before.interrupts,
    nanoseconds: after.nanoseconds - before.nanoseconds,
  };
}

/** Turns a device's own clock on or off: it costs some time as well. */
export async function setTiming({ monitor }: Machine, { path }: Device, value: boolean): Promise<void> {
  await monitor.execute('qom-set', { path, property: 'timing', value });
}
