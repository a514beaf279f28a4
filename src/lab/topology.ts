import { LabError } from '../errors.js';
import type { Machine } from '../machine/machine.js';
import { findPciDevice } from '../monitor/parse.js';
import type { Lab } from './lab.js';

/**
 * Checks that the lab's PCI device is where its exercise says it is, as QEMU itself reports it.
 *
 * @throws LabError `lab/topology`.
 */
export async function verifyTopology(machine: Machine, { topology }: Lab, profile: string): Promise<void> {
  const expected = topology?.bar0[profile];
  if (topology === undefined || expected === undefined) return;
  const device = findPciDevice(await machine.monitor.execute('query-pci'), topology.vendor, topology.device);
  const actual = device?.regions.find((region) => region.bar === 0)?.address;
  if (actual === expected) return;
  throw new LabError({
    code: 'lab/topology',
    blame: 'host',
    fact: `the device is not where the machine profile ${profile} promises it`,
    evidence: [
      `expected: BAR 0 at 0x${expected.toString(16)}`,
      device === undefined
        ? 'actual:   the machine has no such device'
        : `actual:   BAR 0 at ${actual === undefined ? 'no address' : `0x${actual.toString(16)}`}`,
    ],
    next: 'check the order of the devices in the saved QEMU command (`lab status --json` names it)',
  });
}
