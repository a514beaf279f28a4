import { type Check, type CheckContext, CheckFailure, expectEqual } from '../../../lab/check.js';
import { findPciDevice } from '../../../monitor/parse.js';

/** The device as the machine and the guest's PCI tools see it. */
export const deviceChecks: readonly Check[] = [
  {
    id: 'pci-identity',
    title: 'the guest sees PCI device 1234:cafe, revision 10, class 00ff, as the machine does',
    deadline: 10_000,
    run: identity,
  },
  {
    id: 'pci-bar',
    title: 'BAR 0 is 4 KiB of 32-bit non-prefetchable memory at the address that the machine gave it',
    deadline: 10_000,
    needs: ['pci-identity'],
    run: bar,
  },
  {
    id: 'lspci-text',
    title: 'lspci -v describes the device in the words of the exercise',
    deadline: 10_000,
    needs: ['pci-identity'],
    run: lspciText,
  },
];

async function identity({ guest, machine, signal, prove }: CheckContext): Promise<void> {
  const found = findPciDevice(await machine.monitor.execute('query-pci'), 0x1234, 0xcafe);
  if (found === undefined) throw new CheckFailure('the machine has no PCI device 1234:cafe (query-pci)');
  expectEqual('the class in query-pci', found.classCode, 0x00ff);
  const { stdout } = await guest.exec(['lspci', '-n', '-d', '1234:cafe'], { signal, check: true });
  const line = stdout.trim().replace(/^[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f] /, '');
  expectEqual('lspci -n', line, '00ff: 1234:cafe (rev 10)');
  prove(`query-pci: slot ${found.slot}, class 0x00ff; lspci -n: ${stdout.trim()}`);
}

async function bar({ guest, machine, signal, prove }: CheckContext): Promise<void> {
  const found = findPciDevice(await machine.monitor.execute('query-pci'), 0x1234, 0xcafe);
  const regions = found?.regions ?? [];
  const described = regions.map((r) => `BAR ${r.bar}: ${r.type}, ${r.size} bytes`).join('; ');
  const [region] = regions;
  if (region === undefined || regions.length !== 1) {
    throw new CheckFailure('the device does not have exactly one BAR', [described || 'it has none']);
  }
  expectEqual('the BAR', `${region.bar} ${region.type} ${region.size}`, '0 memory 4096');
  const { stdout } = await guest.exec(['lspci', '-v', '-d', '1234:cafe'], { signal, check: true });
  const memory = stdout
    .split('\n')
    .find((line) => line.includes('Memory at'))
    ?.trim();
  const address = (region.address ?? 0).toString(16).padStart(8, '0');
  expectEqual('the memory of lspci -v', memory, `Memory at ${address} (32-bit, non-prefetchable) [size=4K]`);
  prove(`query-pci and lspci -v agree on 0x${address}, 4 KiB, 32-bit, non-prefetchable`);
}

async function lspciText({ guest, signal, prove, note }: CheckContext): Promise<void> {
  const { stdout } = await guest.exec(['lspci', '-v', '-d', '1234:cafe'], { signal, check: true });
  note(stdout.trimEnd());
  for (const wanted of ['Unclassified device [00ff]: Device 1234:cafe (rev 10)', 'Flags: fast devsel']) {
    if (!stdout.includes(wanted)) {
      throw new CheckFailure('lspci -v lacks a line', [
        `expected: ${wanted}`,
        ...stdout.trimEnd().split('\n'),
      ]);
    }
    prove(wanted);
  }
}
