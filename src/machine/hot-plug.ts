import { LabError } from '../errors.js';
import type { Monitor } from '../monitor/monitor.js';
import { flattenPci } from '../monitor/parse.js';
import type { Timeouts } from '../timeouts.js';

export interface HotPlugOptions {
  readonly timeouts: Timeouts;
  readonly signal: AbortSignal;
}

/**
 * Takes a PCI device out of a running machine. What the guest is told of it by ACPI may find nobody who listens, so its
 * answer to that is given here: a guest that has not let go of the device before has it pulled out.
 *
 * @param id the device's own, as given with `-device` or `device_add`.
 * @throws LabError `machine/not-plugged`, `monitor/timeout`.
 */
export async function unplugDevice(monitor: Monitor, id: string, options: HotPlugOptions): Promise<void> {
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
}

async function slotOf(monitor: Monitor, id: string): Promise<number> {
  const device = flattenPci(await monitor.execute('query-pci')).find((each) => each.id === id);
  if (device !== undefined) return device.slot;
  throw new LabError({
    code: 'machine/not-plugged',
    blame: 'host',
    fact: `the machine has no device ${id}`,
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
