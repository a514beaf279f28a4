import { randomBytes } from 'node:crypto';
import { type Command, InvalidArgumentError } from '@commander-js/extra-typings';
import type { FuzzReport } from '../../src/lab/fuzz.js';
import type { PrepareOptions } from '../../src/lab/prepare.js';
import { addQemuOptions, labArgument, type QemuFlags, qemuOptions } from '../options.js';

/** `lab fuzz`: random accesses to the lab's device, with a QEMU that notices what goes wrong in it. */
export function addFuzz(program: Command, signal: AbortSignal): void {
  const command = program
    .command('fuzz')
    .summary("do random things to the lab's device")
    .description(
      "Reads and writes the device's registers and configuration space at random, hands it good, bad and hostile\n" +
        'descriptors, resets, stops, unplugs and migrates it, without a guest, on a QEMU that is compiled to notice misuse\n' +
        'of memory and undefined behaviour in itself. The first thing found ends it: what it is, and the fewest operations\n' +
        'that lead to it. A device of yours runs on this host, as with `lab up`.',
    )
    .addArgument(labArgument())
    .addHelpText('after', EXAMPLES);
  addQemuOptions(command as unknown as Command, PROFILE)
    .option('--seconds <n>', 'for so long', positive, 60)
    .option('--seed <n>', 'do what was done with this seed (default: a new one)', seedNumber)
    .option(
      '--device <device>',
      'as for -device of QEMU (repeatable, at most two)',
      atMostTwo,
      [] as string[],
    )
    .option('--json', 'print the result as JSON')
    .action(async (...args: unknown[]) => {
      const [lab, flags] = args as [string, FuzzFlags];
      await runFuzz(lab, flags, signal);
    });
}

/** The machine profile whose QEMU notices most. */
const PROFILE = 'sanitized';

const EXAMPLES = `
Examples:
  lab fuzz
  lab fuzz my-rng --seconds 600
  lab fuzz --work my-rng-work
  lab fuzz --qemu-patch mine.patch --seed 3141592653
  lab fuzz --device my_rng,extended=on,msi=off --profile fast`;

interface FuzzFlags extends QemuFlags {
  readonly seconds: number;
  readonly seed?: number;
  readonly device: string[];
  readonly json?: true;
}

const step = { fuzz: 'Fuzz' };

async function runFuzz(name: string, flags: FuzzFlags, signal: AbortSignal): Promise<void> {
  const { chooseWork } = await import('../work.js');
  const { loadFuzz } = await import('../../src/lab/fuzz.js');
  const { qemuSteps } = await import('../../src/lab/prepare.js');
  const { preflight } = await import('../preflight.js');
  const { withDisplay } = await import('../ui/display.js');
  const fuzz = await loadFuzz(name);
  const options = await chooseWork(name, flags, signal, qemuOptions);
  await preflight({ yes: flags.yes === true, needs: ['qemu', 'sources', 'machine'], signal });
  const display = { steps: { ...qemuSteps, ...step }, signal, timing: flags.timing === true };
  const report = await withDisplay(display, async (context) => {
    const { deviceOwner, prepareQemu } = await import('../../src/lab/prepare.js');
    const { runStep } = await import('../../src/events.js');
    const { hostTimeouts } = await import('../host.js');
    const timeouts = hostTimeouts();
    const qemu = await prepareQemu(options, context, timeouts);
    const seed = flags.seed ?? randomBytes(4).readUInt32LE();
    const time = 1000 * flags.seconds;
    const request = { qemu, owner: await deviceOwner(options), devices: flags.device, seed, time, timeouts };
    return await runStep(context, 'fuzz', step.fuzz, async (running) => {
      running.note(`seed ${seed}`);
      const onProgress = (_: number, spent: number) =>
        running.progress(Math.min(flags.seconds, Math.floor(spent / 1000)), flags.seconds, 'steps');
      const value = await fuzz({ ...request, signal, onProgress });
      return { value, detail: counted(value) };
    });
  });
  await conclude(name, flags, report, options);
}

async function conclude(
  lab: string,
  flags: FuzzFlags,
  report: FuzzReport,
  { qemuPatches }: PrepareOptions,
): Promise<void> {
  const { exitCodes } = await import('../exit-codes.js');
  const { finding } = report;
  const again = [
    `lab fuzz ${lab} --seed ${finding?.seed ?? report.seed}`,
    ...(flags.profile === PROFILE ? [] : [`--profile ${flags.profile}`]),
    ...(flags.work === undefined ? [] : [`--work ${flags.work}`]),
    ...qemuPatches.map((file) => `--qemu-patch ${file}`),
    ...flags.device.map((device) => `--device ${device}`),
  ].join(' ');
  if (flags.json === true) process.stdout.write(`${JSON.stringify({ ...report, again }, null, 2)}\n`);
  else process.stdout.write(`${describeReport(report, again).join('\n')}\n`);
  process.exitCode = finding === undefined ? exitCodes.ok : exitCodes.failed;
}

function describeReport(report: FuzzReport, again: string): string[] {
  const { finding } = report;
  if (finding === undefined) {
    const counts = Object.entries(report.counters).map(([name, value]) => `${name} ${value}`);
    const said = counts.length === 0 ? [] : [`The devices counted: ${counts.join(', ')}`];
    return [`Nothing found: ${counted(report)}`, ...said, `The same again: ${again}`];
  }
  const { fact, evidence, operations, repeats, devices } = finding;
  const indented = (lines: readonly string[]) => lines.map((line) => `  ${line}`);
  return [
    `${fact}`,
    ...indented(evidence.slice(0, 40)),
    '',
    repeats
      ? `${operations.length} operations lead to it:`
      : 'The last operations before it, which did not repeat it:',
    ...indented([...devices.map((device) => `-device ${device}`), ...operations]),
    '',
    `Next: ${again}`,
  ];
}

function counted({ operations, sessions, time, devices }: FuzzReport): string {
  const rate = Math.round(operations / Math.max(0.001, time / 1000));
  const machines = `${sessions} ${sessions === 1 ? 'machine' : 'machines'}`;
  return `${operations} operations on ${machines}, ${rate} a second; ${devices.join(' ')}`;
}

function positive(text: string): number {
  const number = Number(text);
  if (Number.isFinite(number) && number > 0 && number <= 86_400) return number;
  throw new InvalidArgumentError('a number of seconds above 0, at most a day');
}

function seedNumber(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 0 && number < 2 ** 32) return number;
  throw new InvalidArgumentError('a seed is a whole number from 0 to 4294967295');
}

function atMostTwo(value: string, before: string[]): string[] {
  if (before.length === 2) throw new InvalidArgumentError('two devices at most');
  return [...before, value];
}
