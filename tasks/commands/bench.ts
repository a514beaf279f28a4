import { type Command, InvalidArgumentError } from '@commander-js/extra-typings';
import type { BenchVariant, LabBench } from '../../src/bench/bench.js';
import type { BenchReport } from '../../src/bench/report.js';
import type { StepContext } from '../../src/events.js';
import type { LiveTarget } from '../../src/lab/target.js';
import { addMachineOptions, addTreeOptions, labArgument, type UpFlags, upOptions } from '../options.js';

/** `lab bench`: what each variant of a lab's work gains. */
export function addBench(program: Command, signal: AbortSignal): void {
  const command = program
    .command('bench')
    .summary("measure the variants of the lab's work against each other")
    .description(
      "Measures all variants in rounds on one machine, the one that `lab up --variant` of the bench's own variant\n" +
        'started. When none runs, one is started for this run with a fresh disk and ended afterwards.',
    )
    .addArgument(labArgument())
    .addHelpText('after', EXAMPLES);
  addMachineOptions(addTreeOptions(command as unknown as Command))
    .option('--variants <names>', 'only these, between commas; the yardstick is always among them', names)
    .option('--rounds <count>', 'how often each variant is measured', rounds, 5)
    .option('--seconds <time>', 'how long each measurement lasts', seconds, 0.4)
    .option('--html <file>', 'write a page with plots')
    .option('--json', 'print the report as JSON')
    .option('--list', 'list the variants, measure none')
    .action(async (...args: unknown[]) => {
      const [lab, flags] = args as [string, BenchFlags];
      await bench(lab, flags, signal);
    });
}

const EXAMPLES = `
Examples:
  lab bench
  lab bench my-rng --variants wide,bulk-msi --rounds 9
  lab bench my-rng --html bench.html
  lab bench --json > bench.json

Exit code 1: the guest's account and the device's counters differ, or numbers are not random.`;

interface BenchFlags extends Omit<UpFlags, 'kernel' | 'variant' | 'qemuPatch' | 'linuxPatch'> {
  readonly variants?: readonly string[];
  readonly rounds: number;
  readonly seconds: number;
  readonly html?: string;
  readonly json?: true;
  readonly list?: true;
}

async function bench(name: string, flags: BenchFlags, signal: AbortSignal): Promise<void> {
  const { chooseVariants, loadBenchOf } = await import('../../src/bench/load-bench.js');
  const found = await loadBenchOf(name);
  const chosen = chooseVariants(found, flags.variants);
  if (flags.list === true) return list(chosen, flags.json === true);
  const report = await measure(found, chosen, flags, signal);
  await show(report, flags);
  const { isSound } = await import('../../src/bench/report.js');
  const { exitCodes } = await import('../exit-codes.js');
  if (!isSound(report)) process.exitCode = exitCodes.failed;
}

async function measure(
  found: LabBench,
  variants: readonly BenchVariant[],
  flags: BenchFlags,
  signal: AbortSignal,
): Promise<BenchReport> {
  const { benchSteps, runBench } = await import('../../src/bench/run.js');
  const { upStepsFor } = await import('../../src/lab/bring-up.js');
  const { upNeeds } = await import('../../src/lab/needs.js');
  const { runningFor, withRunning, withThrowaway } = await import('../../src/lab/target.js');
  const { hostTimeouts } = await import('../host.js');
  const { preflight } = await import('../preflight.js');
  const { withDisplay } = await import('../ui/display.js');
  const { rounds: count, seconds: length } = flags;
  const use = (context: StepContext) => (live: LiveTarget) =>
    runBench(found, live, { variants, rounds: count, seconds: length }, context);
  const { lab, machine: variant } = found;
  const timeouts = hostTimeouts();
  const display = { signal, timing: flags.timing === true };
  const running = runningFor(lab, { name: flags.name, variant });
  if (running !== undefined) {
    return await withDisplay({ ...display, steps: benchSteps }, (context) =>
      withRunning(lab, running, context, timeouts, use(context)),
    );
  }
  const options = {
    ...upOptions(lab, { ...flags, variant, kernel: 'built', qemuPatch: [], linuxPatch: [] }),
    name: flags.name ?? `${lab.name}-bench`,
  };
  await preflight({ yes: flags.yes === true, needs: upNeeds(options), signal });
  return await withDisplay({ ...display, steps: { ...upStepsFor(options), ...benchSteps } }, (context) =>
    withThrowaway(options, context, timeouts, use(context)),
  );
}

async function show(report: BenchReport, { html, json }: BenchFlags): Promise<void> {
  if (html !== undefined) {
    const { writeFile } = await import('node:fs/promises');
    const { toBenchPage } = await import('../../src/bench/render/page.js');
    await writeFile(html, toBenchPage(report));
  }
  if (json === true) {
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
    return;
  }
  const { benchTable } = await import('../../src/bench/render/terminal.js');
  process.stdout.write(`${benchTable(report).join('\n')}\n`);
  if (html !== undefined) process.stdout.write(`\npage: ${html}\n`);
}

function list(variants: readonly BenchVariant[], json: boolean): void {
  const rows = variants.map(({ id, title, summary }) => ({ id, title, summary }));
  if (json) process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
  else for (const { id, summary } of rows) process.stdout.write(`${id.padEnd(16)} ${summary}\n`);
}

function names(text: string): string[] {
  return text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

function rounds(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= 1000) return count;
  throw new InvalidArgumentError('a whole number from 1 to 1000');
}

function seconds(text: string): number {
  const length = Number(text);
  if (length >= 0.01 && length <= 600) return length;
  throw new InvalidArgumentError('seconds, from 0.01 to 600');
}
