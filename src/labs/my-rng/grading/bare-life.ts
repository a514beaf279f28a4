import { LabError } from '../../../errors.js';
import { CheckFailure } from '../../../lab/check.js';
import type { BareCheck, BareContext } from './bare-check.js';
import { BareRng, DEVICE_IDS, during, equal, hex, shown } from './bare-rng.js';

/** A second device, a reset, an unplug. */
export const lifeChecks: readonly BareCheck[] = [
  {
    id: 'two-instances',
    line: 'device-registers',
    title: 'two devices in one machine both work',
    machine: 'own',
    instances: 2,
    run: twoInstances,
  },
  {
    id: 'machine-reset',
    line: 'device-registers',
    title: 'the device works after a reset of the machine',
    machine: 'own',
    run: reset,
  },
  {
    id: 'unplug',
    line: 'device-registers',
    title: 'QEMU survives that the device is unplugged',
    machine: 'own',
    run: unplug,
  },
];

/** ACPI PCI hot-plug of the `pc` machine (docs/specs/acpi_pci_hotplug.rst): which bus, and which slots to eject. */
const SELECT_BUS = 0xae10;
const EJECT = 0xae08;

async function twoInstances(context: BareContext): Promise<void> {
  const { devices, seeds, learnt, prove } = context;
  const [first, second = first] = devices;
  const before = await first.sequence(seeds.main, 8);
  const other = await second.sequence(seeds.other, 8);
  // generators that share the C library's state are allowed to disturb each other: each is seeded anew
  await works(first, before, context, 'the first device', 'while a second one is there');
  await works(second, other, { ...context, seeds: { ...seeds, main: seeds.other } }, 'the second device', '');
  if (learnt.repeats) prove(`first: ${shown(before)}; second, with another seed: ${shown(other)}`);
}

async function reset(context: BareContext): Promise<void> {
  const { machine, devices, seeds, timeouts, signal } = context;
  const before = await devices[0].sequence(seeds.main, 8);
  const done = machine.monitor.nextEvent('RESET', { timeout: timeouts.bareCommand, signal });
  await during('a reset of the machine', Promise.all([done, machine.monitor.execute('system_reset')]));
  const rng = await BareRng.map(machine, DEVICE_IDS[0]); // a reset takes the BAR's address away
  await works(rng, before, context, 'the device', 'after a reset');
}

/** Seeds with the main seed and compares, or just reads where seeding does not repeat anyway. */
async function works(
  rng: BareRng,
  wanted: readonly number[],
  { seeds, learnt, prove }: BareContext,
  who: string,
  when: string,
): Promise<void> {
  const numbers = await rng.sequence(seeds.main, 8);
  if (learnt.repeats && !equal(numbers, wanted)) {
    throw new CheckFailure(
      `${who} does not give the numbers of its seed${when === '' ? '' : ` ${when}`}`,
      [`seed ${hex(seeds.main)}`, `expected: ${shown(wanted)}`, `actual:   ${shown(numbers)}`],
      'keep the state of the device in its own structure, and leave it usable in the reset function',
    );
  }
  if (learnt.varies && new Set(numbers).size < 2) {
    throw new CheckFailure(`${who} gives no random numbers${when === '' ? '' : ` ${when}`}`, [
      shown(numbers),
    ]);
  }
  prove(`${who}${when === '' ? '' : ` ${when}`}: ${shown(numbers)}`);
}

async function unplug({ machine, devices, timeouts, signal, prove, note }: BareContext): Promise<void> {
  const [{ pci }] = devices;
  const gone = machine.monitor.nextEvent('DEVICE_DELETED', { timeout: timeouts.bareCommand, signal });
  gone.catch(() => {}); // it may be refused before anybody waits for it
  const refused = await during(
    'the request to unplug it',
    refusal(machine.monitor.execute('device_del', { id: DEVICE_IDS[0] })),
  );
  if (refused === undefined) {
    await during('the unplugging', machine.qtest.outl(SELECT_BUS, 0));
    await during('the unplugging', machine.qtest.outl(EJECT, 2 ** pci.slot));
    await during('the unplugging', gone);
    prove('device_del and an eject by the guest: DEVICE_DELETED');
  } else {
    note(`the device does not let itself be unplugged: ${refused}`);
  }
  const { running } = await during('the unplugging', machine.monitor.execute('query-status'));
  prove(`afterwards QEMU answers: ${running ? 'running' : 'not running'}`);
}

/** QEMU's reason for refusing a command; undefined when it was accepted. */
async function refusal(command: Promise<unknown>): Promise<string | undefined> {
  try {
    await command;
    return undefined;
  } catch (error) {
    if (error instanceof LabError && error.code === 'monitor/command') return error.evidence.join(', ');
    throw error;
  }
}
