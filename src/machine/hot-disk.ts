import { LabError } from '../errors.js';
import type { Monitor } from '../monitor/monitor.js';
import { flattenPci } from '../monitor/parse.js';
import type { Timeouts } from '../timeouts.js';

/** A disk of a running machine whose data comes from an NBD server. */
export interface HotDisk {
  /** Name of the device and of its block node; also the serial number by which the guest knows it. */
  readonly id: string;
  /** Unix socket at which the server listens. */
  readonly socket: string;
  /** Name of the server's export. */
  readonly export: string;
  readonly readOnly: boolean;
}

export interface HotDiskOptions {
  readonly timeouts: Timeouts;
  readonly signal: AbortSignal;
}

/**
 * Adds a virtio disk to a running machine. A guest whose kernel knows ACPI hot plug sees it at once, others when they
 * look at the PCI bus again.
 *
 * @throws LabError `monitor/command` when QEMU refuses; nothing is left behind then.
 */
export async function plugDisk(monitor: Monitor, disk: HotDisk, options: HotDiskOptions): Promise<void> {
  const { signal } = options;
  const { id, socket: path, readOnly } = disk;
  const node = {
    ...{ driver: 'nbd', 'node-name': id, server: { type: 'unix', path }, export: disk.export },
    ...{ 'read-only': readOnly, discard: 'unmap' },
  };
  await monitor.execute('blockdev-add', node, { signal });
  try {
    await monitor.execute('device_add', { driver: 'virtio-blk-pci', id, drive: id, serial: id }, { signal });
  } catch (error) {
    await monitor.execute('blockdev-del', { 'node-name': id });
    throw error;
  }
}

/**
 * Takes the disk away and closes its connection. The guest has let go of it before: what it is told by ACPI may find
 * nobody who listens, so its answer to that is given here.
 *
 * @throws LabError `machine/no-disk`, `monitor/timeout`.
 */
export async function unplugDisk(monitor: Monitor, id: string, options: HotDiskOptions): Promise<void> {
  const { signal, timeouts } = options;
  const slot = await slotOf(monitor, id);
  const gone = monitor.nextEvent(({ event, data }) => event === 'DEVICE_DELETED' && data?.device === id, {
    timeout: timeouts.qmpCommand,
    signal,
  });
  gone.catch(() => {}); // awaited below, unless QEMU refuses
  await monitor.execute('device_del', { id }, { signal });
  await eject(monitor, slot);
  await gone;
  await monitor.execute('blockdev-del', { 'node-name': id }, { signal });
}

async function slotOf(monitor: Monitor, id: string): Promise<number> {
  const device = flattenPci(await monitor.execute('query-pci')).find((each) => each.id === id);
  if (device !== undefined) return device.slot;
  throw new LabError({
    code: 'machine/no-disk',
    blame: 'host',
    fact: `the machine has no disk ${id}`,
    next: 'look at what it has: `info pci` in the monitor',
  });
}

/** Registers of PIIX4's PCI hot plug (QEMU docs/specs/acpi_pci_hotplug.rst): bus selector, and bits of slots to eject. */
const BUS = 0xae10;
const EJECT = 0xae08;

async function eject(monitor: Monitor, slot: number): Promise<void> {
  for (const [port, value] of [
    [BUS, 0],
    [EJECT, 2 ** slot],
  ])
    await monitor.execute('human-monitor-command', { 'command-line': `o/w ${port} ${value}` });
}
