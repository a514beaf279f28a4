import type { Monitor } from '../monitor/monitor.js';
import { type HotPlugOptions, unplugDevice } from './hot-plug.js';

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

/**
 * Adds a virtio disk to a running machine. A guest whose kernel knows ACPI hot plug sees it at once, others when they
 * look at the PCI bus again.
 *
 * @throws LabError `monitor/command` when QEMU refuses; nothing is left behind then.
 */
export async function plugDisk(monitor: Monitor, disk: HotDisk, options: HotPlugOptions): Promise<void> {
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
 * Takes the disk away and closes its connection. The guest has let go of it before.
 *
 * @throws LabError `machine/not-plugged`, `monitor/timeout`.
 */
export async function unplugDisk(monitor: Monitor, id: string, options: HotPlugOptions): Promise<void> {
  await unplugDevice(monitor, id, options);
  await monitor.execute('blockdev-del', { 'node-name': id }, { signal: options.signal });
}
