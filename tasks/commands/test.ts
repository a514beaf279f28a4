import type { Command } from '@commander-js/extra-typings';
import { LabError } from '../../src/errors.js';
import type { Report } from '../../src/grade/report.js';
import type { Check, Verdict } from '../../src/lab/check.js';
import { type Lab, labOf } from '../../src/lab/lab.js';
import type { LiveTarget } from '../../src/lab/target.js';
import type { MachineRecord } from '../../src/machine/record.js';
import {
  addMachineOptions,
  addSourceOptions,
  checkVariant,
  labArgument,
  type UpFlags,
  upOptions,
} from '../options.js';

/** `lab test`: the lab's checks on its machine. */
export function addTest(program: Command, signal: AbortSignal): void {
  const command = program
    .command('test')
    .summary("run the lab's checks on its machine")
    .description(
      'Runs the checks of the lab on the machine that `lab up` started. When none runs, one is started for this\n' +
        'run with a fresh disk and ended afterwards; the options that decide what it is made of are those of `lab up`.',
    )
    .addArgument(labArgument())
    .addHelpText('after', EXAMPLES);
  addMachineOptions(addSourceOptions(command as unknown as Command))
    .option('--filter <text>', 'only checks whose id contains this (and those they build on)')
    .option('--list', 'list the checks, run none')
    .option('--junit <file>', 'write the result as JUnit XML')
    .option('--json', 'print the report as JSON')
    .action(async (...args: unknown[]) => {
      const [lab, flags] = args as [string, TestFlags];
      await test(lab, flags, signal);
    });
}

const EXAMPLES = `
Examples:
  lab test
  lab test --filter seed
  lab test my-rng --profile moved --junit report.xml
  lab test my-rng --variant further
  lab test --json > report.json`;

interface TestFlags extends UpFlags {
  readonly filter?: string;
  readonly list?: true;
  readonly junit?: string;
  readonly json?: true;
}

async function test(name: string, flags: TestFlags, signal: AbortSignal): Promise<void> {
  const { loadLab } = await import('../../src/lab/registry.js');
  const { runningFor } = await import('../../src/lab/target.js');
  const lab = await loadLab(name);
  const running = flags.list === true ? undefined : runningFor(lab, flags);
  const variant = checkVariant(lab, flags.variant ?? running?.variant);
  const checks = chooseChecks(labOf(lab, variant), flags.filter);
  if (flags.list === true) return list(checks, flags.json === true);
  const report = await withMachine({ lab, flags, running, signal }, (live) =>
    runAll(checks, live, flags, signal),
  );
  if (flags.junit !== undefined) {
    const { writeFile } = await import('node:fs/promises');
    const { toJUnit } = await import('../../src/grade/report.js');
    await writeFile(flags.junit, toJUnit(report));
  }
  if (flags.json === true) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  signal.throwIfAborted();
  const { exitCodeForOutcome } = await import('../exit-codes.js');
  process.exitCode = exitCodeForOutcome(report.outcome);
}

interface Run {
  readonly lab: Lab;
  readonly flags: TestFlags;
  /** The machine that runs already. */
  readonly running: MachineRecord | undefined;
  readonly signal: AbortSignal;
}

async function withMachine(
  { lab, flags, running, signal }: Run,
  use: (live: LiveTarget) => Promise<Report>,
): Promise<Report> {
  const { withRunning, withThrowaway } = await import('../../src/lab/target.js');
  const { hostTimeouts } = await import('../host.js');
  const timeouts = hostTimeouts();
  if (running !== undefined)
    return await withRunning(lab, running, { signal, emit: () => {} }, timeouts, use);
  const { chooseWork } = await import('../work.js');
  const options = await chooseWork(lab.name, flags, signal, upOptions);
  const { upNeeds } = await import('../../src/lab/needs.js');
  const { preflight } = await import('../preflight.js');
  const { withDisplay } = await import('../ui/display.js');
  const { upStepsFor } = await import('../../src/lab/bring-up.js');
  await preflight({ yes: flags.yes === true, needs: upNeeds(options), signal });
  const throwaway = { ...options, name: await freeName(lab, flags) };
  const display = { steps: upStepsFor(options), signal, timing: flags.timing === true };
  return await withDisplay(display, (context, finish) =>
    withThrowaway(throwaway, context, timeouts, async (live) => {
      await finish();
      return await use(live);
    }),
  );
}

/** A machine of the same name in another variant goes on. */
async function freeName(lab: Lab, { name }: TestFlags): Promise<string> {
  const { runningFor } = await import('../../src/lab/target.js');
  return name === undefined || runningFor(lab, { name }) !== undefined ? `${lab.name}-test` : name;
}

async function runAll(
  checks: readonly Check[],
  { target, record }: LiveTarget,
  flags: TestFlags,
  signal: AbortSignal,
): Promise<Report> {
  const { runChecks } = await import('../../src/grade/run-checks.js');
  const { makeReport } = await import('../../src/grade/report.js');
  const { keepRun } = await import('../../src/grade/run-folder.js');
  const { summary, verdictLine } = await import('../ui/verdicts.js');
  const started = new Date();
  const out = flags.json === true ? process.stderr : process.stdout;
  const onVerdict = (verdict: Verdict) => void out.write(verdictLine(verdict));
  const verdicts = await runChecks(checks, target, { signal, onVerdict });
  const report = makeReport({ target, record, verdicts, started });
  const folder = await keepRun(report, target.machine.files.dir);
  out.write(summary(report, folder));
  return report;
}

/** The checks whose id contains `filter`, and all that they build on. */
export function chooseChecks(lab: Lab, filter: string | undefined): readonly Check[] {
  if (filter === undefined) return lab.checks;
  const wanted = new Set<string>();
  for (const check of lab.checks.toReversed()) {
    if (!check.id.includes(filter) && !wanted.has(check.id)) continue;
    for (const id of [check.id, ...(check.needs ?? [])]) wanted.add(id);
  }
  if (wanted.size > 0) return lab.checks.filter(({ id }) => wanted.has(id));
  throw new LabError({
    code: 'usage/filter',
    blame: 'user',
    fact: `no check of ${lab.name} has an id that contains ${filter}`,
    evidence: lab.checks.map(({ id }) => id),
    next: 'choose a part of one of these ids',
  });
}

function list(checks: readonly Check[], json: boolean): void {
  const rows = checks.map(({ id, title, needs = [] }) => ({ id, title, needs }));
  if (json) process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
  else for (const { id, title } of rows) process.stdout.write(`${id.padEnd(28)} ${title}\n`);
}
