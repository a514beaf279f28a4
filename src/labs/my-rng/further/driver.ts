import { type CheckContext, expectEqual } from '../../../lab/check.js';
import { type Logged, mustRun, runLogged } from '../../../lab/run-logged.js';
import { flattenPci, type PciDevice } from '../../../monitor/parse.js';

/** Shell words that make sure of one driver, and of no other. */
export const LOAD_PCI = load('my_rng_pci');
export const UNLOAD_ALL = ['my_rng_pci', 'my_rng_fixed', 'my_rng'].map(unload).join('\n');

function unload(name: string): string {
  return `[ ! -d /sys/module/${name} ] || rmmod ${name}`;
}

function load(name: string): string {
  const others = ['my_rng_pci', 'my_rng_fixed', 'my_rng'].filter((other) => other !== name).map(unload);
  return [...others, `[ -d /sys/module/${name} ] || insmod /opt/lab/${name}.ko`].join('\n');
}

/**
 * Runs `body` with the driver my_rng_fixed loaded, or whatever `insmod` said, and the other driver again afterwards.
 *
 * @param parameter as for `insmod`: `base=0xfebf1000`, or nothing.
 */
export async function withFixed(
  context: CheckContext,
  parameter: string,
  body: (inserted: Logged) => Promise<void>,
): Promise<void> {
  await mustRun(context, UNLOAD_ALL);
  try {
    await body(await runLogged(context, `insmod /opt/lab/my_rng_fixed.ko ${parameter}`));
  } finally {
    if (!context.signal.aborted) await mustRun(context, LOAD_PCI);
  }
}

/** All my_rng of the machine, in the order of their addresses on the bus, as QEMU knows them. */
export async function devicesOnBus({ machine }: Pick<CheckContext, 'machine'>): Promise<PciDevice[]> {
  const all = flattenPci(await machine.monitor.execute('query-pci'));
  return all.filter(({ vendor, device }) => vendor === 0x1234 && device === 0xcafe);
}

/** `0000:00:05.0`, as the guest calls it. */
export function pciName({ bus, slot, function: unit }: PciDevice): string {
  const hex = (value: number) => value.toString(16).padStart(2, '0');
  return `0000:${hex(bus)}:${hex(slot)}.${unit}`;
}

/** The same for a device by QEMU's id. @throws CheckFailure when the machine does not have it. */
export async function pciNameOf(context: CheckContext, id: string): Promise<string> {
  const found = (await devicesOnBus(context)).find((each) => each.id === id);
  expectEqual(`the id of the device ${id}`, found?.id, id);
  return found === undefined ? '' : pciName(found);
}

/** Lines of the kernel log that begin with this. */
export function linesOf(log: readonly string[], begin: string): string[] {
  return log.filter((line) => line.startsWith(begin));
}
