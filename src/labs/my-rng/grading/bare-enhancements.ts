import type { BareMachine } from '../../../machine/bare.js';

interface Property {
  readonly name: string;
  readonly type: string;
  readonly description?: string;
  readonly 'default-value'?: unknown;
}

/** What every PCI device of QEMU has; names that begin with `x-` are QEMU's as well. */
const COMMON = new Set([
  ...['addr', 'romfile', 'romsize', 'rombar', 'multifunction', 'failover_pair_id', 'acpi-index'],
  ...['busnr', 'sriov-pf'],
]);

const LONGEST = 200;

/** The properties that the device adds to those of every PCI device, one line each. */
export async function deviceProperties({ monitor }: BareMachine, id: string): Promise<string[]> {
  const path = `/machine/peripheral/${id}`;
  const typename = await monitor.execute<string>('qom-get', { path, property: 'type' });
  const properties = await monitor.execute<Property[]>('device-list-properties', { typename });
  return properties
    .filter(({ name }) => !COMMON.has(name) && !name.startsWith('x-') && !name.startsWith('legacy-'))
    .map(({ name, type, description }) => {
      const line = `property ${name} (${type})${description === undefined ? '' : `: ${description}`}`;
      return line.slice(0, LONGEST);
    });
}
