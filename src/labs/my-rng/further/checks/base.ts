import { type Check, type CheckContext, CheckFailure, expectEqual } from '../../../../lab/check.js';
import { mustRun, runLogged } from '../../../../lab/run-logged.js';
import { flattenPci } from '../../../../monitor/parse.js';
import { roundsOf } from '../../checks/boot.js';
import { glibcRandom } from '../../glibc-random.js';
import { expectSeeded, numbersOf, runProbe } from '../../probe.js';
import { basicCounters, type Counters, countedSince, countersOf } from '../counters.js';
import { FURTHER_DEVICES, MSI } from '../devices.js';
import { devicesOnBus, LOAD_PCI, linesOf, pciName, pciNameOf, UNLOAD_ALL, withFixed } from '../driver.js';

const COUNT = 8;

/** Three ways to the registers: a constant, a parameter, the kernel's PCI. */
export const baseChecks: readonly Check[] = [
  {
    id: 'pci-probe',
    title:
      'my_rng_pci finds every device, makes its node, in the order of their addresses, and takes it away',
    deadline: 15_000,
    run: pciProbe,
  },
  {
    id: 'basic-untouched',
    title: 'the device without extended=on has no interrupt, and says "fast devsel" as ever',
    deadline: 10_000,
    run: basicUntouched,
  },
  {
    id: 'base-constant',
    title: 'my_rng_fixed serves the device at its constant address, and my-app runs on it',
    deadline: 15_000,
    skip: ({ profile }) =>
      profile === 'course' ? undefined : `on the profile ${profile} the device is elsewhere`,
    run: baseConstant,
  },
  {
    id: 'base-parameter',
    title: 'my_rng_fixed base=… serves the device whose address lspci -v shows, and no other',
    deadline: 15_000,
    run: baseParameter,
  },
  {
    id: 'base-wrong',
    title: 'my_rng_fixed refuses every other address with a line in the log, and touches nothing',
    deadline: 20_000,
    run: baseWrong,
  },
];

async function pciProbe(context: CheckContext): Promise<void> {
  const list = 'for n in /sys/class/my_rng/*; do echo $(basename $n) $(basename $(readlink $n/device)); done';
  const gone = `${UNLOAD_ALL}\nls /dev | grep -E "^my_rng[0-9]+$" || echo none`;
  expectEqual('the nodes without the driver', (await mustRun(context, gone)).stdout.trim(), 'none');
  const { stdout, log } = await mustRun(context, `${LOAD_PCI}\n${list}\nls -l /dev/my_rng[0-9]*`);
  const names = (await devicesOnBus(context)).map(pciName);
  const nodes = names.map((name, i) => `my_rng${i} ${name}`);
  const lines = stdout.trim().split('\n');
  expectEqual('the nodes and their devices', lines.slice(0, -names.length).join('; '), nodes.join('; '));
  for (const line of lines.slice(-names.length))
    if (!line.startsWith('crw-------')) throw new CheckFailure('a node is not for root alone', [line]);
  expectEqual('the devices on the bus', names.length, FURTHER_DEVICES.length + 1);
  const said = linesOf(log, 'my_rng_pci 0000:');
  expectEqual('the lines of the driver', said.length, names.length);
  for (const line of [...nodes, ...said]) context.prove(line);
}

async function basicUntouched(context: CheckContext): Promise<void> {
  const [basic] = await devicesOnBus(context);
  if (basic === undefined) throw new CheckFailure('the machine has no my_rng');
  const { stdout } = await mustRun(context, `lspci -v -s ${pciName(basic)} 2>/dev/null`);
  const flags = /^\s*(Flags: .*)$/m.exec(stdout)?.[1];
  expectEqual('the flags of the basic device', flags, 'Flags: fast devsel');
  if (stdout.includes('Capabilities')) throw new CheckFailure('the basic device has a capability', [stdout]);
  context.prove(`${pciName(basic)}: ${flags}; no capability`);
}

async function baseConstant(context: CheckContext): Promise<void> {
  const before = await basicCounters(context);
  await withFixed(context, '', async ({ exitCode, stderr, log }) => {
    expectEqual('the exit code of insmod', exitCode, 0, [stderr, ...log].join('; '));
    await expectSequence(context);
    const { stdout } = await mustRun(context, 'my-app');
    expectEqual('the output of my-app', stdout.trimEnd(), roundsOf(0).join('\n'));
    const said = linesOf(log, 'my_rng_fixed: ').at(-1);
    expectEqual('the line of the driver', said, 'my_rng_fixed: loaded, registers at 0xfebf1000');
    const { reads, seeds } = countedSince(before, await basicCounters(context));
    expectEqual('what the basic device counted', `${reads} ${seeds}`, `${COUNT + 10} 3`);
    context.prove(`${said}; the device counted ${reads} reads and ${seeds} seeds`);
  });
}

async function baseParameter(context: CheckContext): Promise<void> {
  const name = await pciNameOf(context, MSI.id);
  const show = `lspci -v -s ${name} 2>/dev/null | sed -n 's/.*Memory at \\([0-9a-f]*\\) .*/\\1/p'`;
  const address = (await mustRun(context, show)).stdout.trim();
  const before = { basic: await basicCounters(context), own: await countersOf(context, MSI.id) };
  await withFixed(context, `base=0x${address}`, async ({ exitCode, stderr }) => {
    expectEqual(`the exit code of insmod base=0x${address}`, exitCode, 0, stderr);
    await expectSequence(context);
    const own = countedSince(before.own, await countersOf(context, MSI.id));
    const basic = countedSince(before.basic, await basicCounters(context));
    expectEqual(`what ${MSI.id} counted`, `${own.reads} ${own.seeds}`, `${COUNT} 1`);
    expectEqual('what the basic device counted', `${basic.reads} ${basic.seeds}`, '0 0');
    context.prove(
      `base=0x${address} from lspci -v: ${MSI.id} counted ${own.reads} reads, the first device none`,
    );
  });
}

async function expectSequence(context: CheckContext): Promise<void> {
  const seed = context.nonce.readUInt32LE(0);
  const script = 'rm -f /dev/my_rng_driver; mknod /dev/my_rng_driver c 250 0';
  await mustRun(context, script);
  const events = await runProbe(context, 'sequence', seed, COUNT);
  expectSeeded(events);
  expectEqual(
    `the sequence of seed ${seed}`,
    numbersOf(events).join(' '),
    glibcRandom(seed, COUNT).join(' '),
  );
}

interface Wrong {
  readonly what: string;
  readonly address: number;
  /** What the log says. */
  readonly says: RegExp;
  /** Commands before and after. */
  readonly before?: string;
  readonly after?: string;
}

async function baseWrong(context: CheckContext): Promise<void> {
  const before = await allCounters(context);
  for (const { what, address, says, before: prepare = '', after = '' } of await wrongAddresses(context)) {
    const script = `insmod /opt/lab/my_rng_fixed.ko base=0x${address.toString(16)}; code=$?`;
    const whole = [UNLOAD_ALL, prepare, script, after, 'exit $code'].join('\n');
    const { exitCode, log } = await runLogged(context, whole);
    const said = linesOf(log, 'my_rng_fixed: ');
    if (exitCode === 0) throw new CheckFailure(`${what}: insmod succeeded`, said);
    const line = said.find((text) => says.test(text));
    if (line === undefined) throw new CheckFailure(`${what}: the log does not say why`, [`${says}`, ...said]);
    // the other driver offers the devices to the kernel, which may take numbers at once
    if (prepare !== LOAD_PCI) expectEqual(`${what}: what all counted`, await allCounters(context), before);
    context.prove(`${what}: ${line}`);
  }
  await mustRun(context, LOAD_PCI);
}

async function allCounters(context: CheckContext): Promise<string> {
  const all: Counters[] = [await basicCounters(context)];
  for (const { id } of FURTHER_DEVICES) all.push(await countersOf(context, id));
  return all.map(({ reads, seeds }) => `${reads}/${seeds}`).join(' ');
}

async function wrongAddresses(context: CheckContext): Promise<Wrong[]> {
  const [basic] = await devicesOnBus(context);
  const own = basic?.regions[0]?.address ?? 0;
  const bus = flattenPci(await context.machine.monitor.execute('query-pci'));
  const other = bus
    .filter(({ vendor }) => vendor !== 0x1234)
    .flatMap(({ regions }) => regions)
    .find(({ type, address }) => type === 'memory' && address !== undefined);
  const nothing = (address: number) => new RegExp(`there is no my_rng at 0x${address.toString(16)}$`);
  const setpci = `setpci -s ${basic === undefined ? '' : pciName(basic)} COMMAND`;
  const foreign = other?.address ?? 0xfee00000;
  return [
    { what: 'memory of the machine', address: 0x1000000, says: nothing(0x1000000) },
    { what: 'four bytes too far', address: own + 4, says: nothing(own + 4) },
    { what: "another device's registers", address: foreign, says: nothing(foreign) },
    {
      what: 'a device whose memory is switched off',
      address: own,
      says: /its memory is switched off$/,
      before: `command=$(${setpci} 2>/dev/null); ${setpci}=0 2>/dev/null`,
      after: `${setpci}=$command 2>/dev/null`,
    },
    {
      what: 'a device that another driver uses',
      address: own,
      says: /another driver uses the registers/,
      before: LOAD_PCI,
    },
  ];
}
