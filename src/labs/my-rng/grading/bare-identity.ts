import { CheckFailure, expectEqual } from '../../../lab/check.js';
import { type Bar, type PciAddress, readConfig, sizeBars } from '../../../qtest/pci.js';
import type { QTest } from '../../../qtest/qtest.js';
import { type BareCheck, type BareContext, Blocked } from './bare-check.js';
import { deviceProperties } from './bare-enhancements.js';
import { DEVICE_IDS, during, hex, shown } from './bare-rng.js';

/** What the device is on the bus, and the width of its numbers. */
export const identityChecks: readonly BareCheck[] = [
  {
    id: 'pci-identity',
    line: 'device-registers',
    title: 'the device is PCI 1234:cafe, revision 0x10, class 0x00ff',
    machine: 'first',
    run: identity,
  },
  {
    id: 'pci-bar',
    line: 'device-registers',
    title: 'BAR 0 is 4 KiB of 32-bit non-prefetchable memory',
    machine: 'first',
    run: bar,
  },
  {
    id: 'number-width',
    line: 'device-registers',
    title: 'the numbers of RNG fill its 4 bytes',
    machine: 'first',
    run: width,
  },
];

/** Bits that have to change in 256 numbers; glibc's rand() changes 31. */
const VARYING_BITS = 24;

async function identity({ machine, devices: [rng], prove }: BareContext): Promise<void> {
  const ids = await during('a read of its PCI ids', readConfig(machine.qtest, rng.pci, 0x00, 4));
  const kind = await during('a read of its PCI class', readConfig(machine.qtest, rng.pci, 0x08, 4));
  const hint = 'set vendor_id, device_id, revision and class_id in the class_init function of the device';
  const four = (value: number) => value.toString(16).padStart(4, '0');
  expectEqual('the PCI identity', `${four(ids & 0xffff)}:${four(ids >>> 16)}`, '1234:cafe', hint);
  expectEqual('the PCI revision', hex(kind & 0xff), '0x10', hint);
  expectEqual('the PCI class', `0x${four(kind >>> 16)}`, '0x00ff', hint);
  prove('configuration space: 1234:cafe, revision 0x10, class 0x00ff');
}

async function bar({ machine, devices: [rng], prove, enhancement }: BareContext): Promise<void> {
  const bars = await during('the sizing of its BARs', sizeBars(machine.qtest, rng.pci));
  const [first, ...further] = bars;
  if (first?.index !== 0) {
    throw new CheckFailure(
      'the device has no BAR 0',
      bars.map(describeBar),
      'call pci_register_bar(pdev, 0, …)',
    );
  }
  const wanted = 'BAR 0: memory, 4096 bytes, 32-bit, non-prefetchable';
  const hint =
    'memory_region_init_io(…, 4096) and pci_register_bar(pdev, 0, PCI_BASE_ADDRESS_SPACE_MEMORY, …)';
  expectEqual('BAR 0', describeBar(first), wanted, hint);
  prove(`configuration space: ${wanted}`);
  for (const other of further) enhancement(`further ${describeBar(other)}`, 'interface');
  const added = await during('a look at its capabilities', capabilities(machine.qtest, rng.pci));
  const properties = await during('a look at its properties', deviceProperties(machine, DEVICE_IDS[0]));
  for (const extra of [...added, ...properties]) enhancement(extra);
}

function describeBar({ index, type, size, wide, prefetch }: Bar): string {
  const kind = type === 'io' ? 'I/O ports' : 'memory';
  const rest = type === 'io' ? '' : `, ${wide ? 64 : 32}-bit, ${prefetch ? '' : 'non-'}prefetchable`;
  return `BAR ${index}: ${kind}, ${size} bytes${rest}`;
}

const CAPABILITIES: Readonly<Record<number, string>> = {
  1: 'power management',
  5: 'MSI',
  9: 'vendor specific',
  16: 'PCI Express',
  17: 'MSI-X',
};

/** Interrupt pin, bus mastering as found, and the capability list (PCI Local Bus 3.0, 6.7) without loops. */
async function capabilities(qtest: QTest, at: PciAddress): Promise<string[]> {
  const command = await readConfig(qtest, at, 0x04, 4);
  const pin = await readConfig(qtest, at, 0x3d, 1);
  const found: string[] = [];
  if (pin !== 0) found.push(`interrupt pin ${String.fromCharCode(64 + pin)}`);
  if (command & 4) found.push('bus mastering is on from the start');
  if (!(command & 0x100000)) return found;
  const seen = new Set<number>();
  let next = (await readConfig(qtest, at, 0x34, 1)) & 0xfc;
  while (next !== 0 && !seen.has(next)) {
    seen.add(next);
    const header = await readConfig(qtest, at, next, 4);
    const id = header & 0xff;
    found.push(`PCI capability at ${hex(next)}: ${CAPABILITIES[id] ?? `number ${id}`}`);
    next = (header >>> 8) & 0xfc;
  }
  return found;
}

async function width({ devices: [rng], seeds, learnt, prove }: BareContext): Promise<void> {
  if (!learnt.varies) throw new Blocked('the numbers do not change, so it cannot be seen how wide they are');
  const numbers = await rng.sequence(seeds.main, 256);
  const ones = numbers.reduce((all, value) => all | value, 0);
  const common = numbers.reduce((all, value) => all & value, ~0);
  const varying = (ones & ~common) >>> 0;
  const count = varying.toString(2).replaceAll('0', '').length;
  const bytes = [0, 8, 16, 24].filter((shift) => (varying >>> shift) & 0xff).length;
  const seen = `${count} of 32 bits change in 256 numbers (mask ${hex(varying)})`;
  if (count >= VARYING_BITS && bytes === 4) return prove(seen);
  throw new CheckFailure(
    'the numbers of RNG do not fill 4 bytes',
    [
      `expected: at least ${VARYING_BITS} bits that change, some in each byte`,
      `actual:   ${seen}`,
      shown(numbers),
    ],
    'the number is cut on its way: look for a narrow type, a mask or a remainder, and at impl.max_access_size',
  );
}
