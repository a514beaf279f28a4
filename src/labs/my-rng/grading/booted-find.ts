import { explainInsmod } from '../../../grade/explain-insmod.js';
import { quoteForShell as q } from '../../../guest/command.js';
import { CheckFailure } from '../../../lab/check.js';
import { messages } from '../checks/common.js';
import { ProbeCut } from '../probe.js';
import {
  type CharacterDevices,
  chooseDevice,
  DEVICE_NAME,
  LIST_DEVICES,
  newEntries,
  parseDevices,
} from './booted-devices.js';
import { bootedCheck, script } from './booted-guard.js';
import type { Bench, BootedCheck, BootedFindings, BootedSetup, DriverDevice } from './booted-setup.js';

/** Loading the driver when it is a module, and finding the character device that it registers. */
export function findingChecks(setup: BootedSetup, findings: BootedFindings): BootedCheck[] {
  const { driver } = setup;
  let before: CharacterDevices | undefined;
  const load = bootedCheck(setup, findings, {
    id: 'driver-loads',
    line: 'driver-repeat-seed',
    title: 'insmod loads the driver',
    skip: driver === 'built-in' ? 'the driver is part of the kernel' : undefined,
    run: async (bench) => {
      await noteStart(bench);
      before = await listDevices(bench);
      for (const module of driver === 'built-in' ? [] : driver.modules) await insmod(bench, module);
    },
  });
  const register = bootedCheck(setup, findings, {
    id: 'driver-registers',
    line: 'driver-repeat-seed',
    title: 'the driver registers a character device, and a node with its number opens',
    ...(driver === 'built-in' ? {} : { needs: [load.id] }),
    run: (bench) => findNode(bench, before),
  });
  return [load, register];
}

/** What the kernel complains about from here on is the driver's doing. A built-in driver was there all the time. */
async function noteStart(bench: Bench): Promise<void> {
  const { stdout } = await script(bench, 'cat /proc/uptime');
  bench.findings.since = {
    cursor: bench.context.machine.console.cursor,
    seconds: Number.parseFloat(stdout) || 0,
  };
}

async function listDevices(bench: Bench): Promise<CharacterDevices> {
  return parseDevices((await script(bench, LIST_DEVICES)).stdout);
}

async function insmod(bench: Bench, module: string): Promise<void> {
  const name = module.slice(module.lastIndexOf('/') + 1);
  const { seconds = 0 } = bench.findings.since ?? {};
  const { exitCode, signal, stderr } = await script(bench, `insmod ${q(module)}`);
  if (exitCode === 0) return bench.context.prove(`insmod ${name}: exit code 0`);
  if (signal !== undefined || exitCode > 128)
    throw new ProbeCut(`insmod ${name} was killed`, stderr.split('\n'));
  const { stdout: dmesg } = await script(bench, 'dmesg');
  const log = messages(linesSince(dmesg.split('\n'), seconds).join('\n'));
  const { fact, hint } = explainInsmod(name, stderr, log);
  throw new CheckFailure(fact, [...stderr.trim().split('\n'), ...log.filter(Boolean).slice(-10)], hint);
}

/** Lines of dmesg that the kernel printed `seconds` after its start or later; lines without a time stay. */
export function linesSince(lines: readonly string[], seconds: number): string[] {
  return lines.filter((line) => {
    const stamp = /^\[ *(\d+\.\d+)\]/.exec(line)?.[1];
    return stamp === undefined || Number(stamp) >= seconds;
  });
}

async function findNode(bench: Bench, before: CharacterDevices | undefined): Promise<void> {
  const { findings, context } = bench;
  findings.since ??= { cursor: 0, seconds: 0 };
  const after = await listDevices(bench);
  const choice = chooseDevice(after, before);
  if (choice === undefined) throw notFound(bench.setup, after, before);
  const { device, notes } = choice;
  for (const text of notes) context.note(text);
  findings.device = device;
  const node = `/dev/lab-${context.nonce.toString('hex', 28, 32)}`;
  const made = await script(bench, makeNodes(node, device, after));
  if (made.signal !== undefined || made.exitCode > 128)
    throw new ProbeCut('opening the node was ended by the kernel', []);
  if (made.exitCode !== 0) throw doesNotOpen(device, made.stderr);
  findings.node = node;
  context.note(made.stdout.trimEnd());
  context.prove(`/proc/devices or /proc/misc: ${device.major} ${device.name}; the node ${node} opens`);
}

function notFound(
  setup: BootedSetup,
  after: CharacterDevices,
  before: CharacterDevices | undefined,
): CheckFailure {
  const entries = newEntries(after, before);
  const listed = after.majors.map(({ major, name }) => `${major} ${name}`).join(', ');
  const evidence = [
    `character devices in /proc/devices: ${listed}`,
    `new ones: ${entries.map(({ major, name }) => `${major} ${name}`).join(', ') || 'none'}`,
  ];
  const hint =
    setup.driver === 'built-in'
      ? `register it in an init function (module_init or device_initcall), and see that the Makefile and Kconfig of its folder build the file in`
      : `let the module's init function call register_chrdev(250, "${DEVICE_NAME}", …) or its equivalent`;
  return new CheckFailure(`the driver registers no character device ${DEVICE_NAME}`, evidence, hint);
}

/** The node of the exercise is made as well, for the student's application, unless the kernel has made it itself. */
function makeNodes(node: string, { major, minor }: DriverDevice, { nodes }: CharacterDevices): string {
  const usual = `/dev/${DEVICE_NAME}`;
  const made = nodes.find((entry) => entry.node === DEVICE_NAME);
  const right = made?.major === major && made.minor === minor;
  return [
    'set -e',
    `rm -f ${node}; mknod -m 600 ${node} c ${major} ${minor}`,
    ...(right ? [] : [`rm -f ${usual}; mknod -m 666 ${usual} c ${major} ${minor}`]),
    `exec 3<>${node}`,
    `ls -l ${usual}`,
  ].join('\n');
}

function doesNotOpen({ name, major, minor }: DriverDevice, stderr: string): CheckFailure {
  return new CheckFailure(
    `the node of ${name} (${major}, ${minor}) does not open`,
    stderr.trim().split('\n'),
    'open() of the driver has to succeed when the device 1234:cafe is there; without an open function it always does',
  );
}
