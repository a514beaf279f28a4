import { type Command, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import type { StepContext } from '../../src/events.js';
import type { GradedSubmission, GradeReport } from '../../src/grade/grade-report.js';
import type { Bench, Grading, GradingRequest } from '../../src/grade/grading.js';
import { labNames } from '../../src/lab/registry.js';
import type { Timeouts } from '../../src/timeouts.js';
import { addTreeOptions, DEFAULT_LAB, type TreeFlags, treeOptions } from '../options.js';

/** `lab grade`: verdicts, marks and feedback for hand-ins. */
export function addGrade(program: Command, signal: AbortSignal): void {
  const command = program
    .command('grade')
    .summary('grade hand-ins: verdicts, marks, feedback')
    .description(
      'Grades hand-ins of a lab: folders, archives, patches, loose sources. Nothing of them runs outside of a sandbox.\n' +
        'Writes a report as JSON, JUnit, CSV and one HTML page, and feedback for each student, to .lab/gradings/<n>.',
    )
    .argument('<path...>', 'hand-ins; each is one submission')
    .addOption(
      new Option('--lab <lab>', 'the exercise').choices(labNames()).default(DEFAULT_LAB),
    ) as unknown as Command;
  addGradeOptions(command)
    .option('--deadline <time>', 'hand-ins after it lose a tenth of their marks a day (ISO 8601)', time)
    .option('--handed-in <time>', 'when all were handed in (default: the newest file of each)', time)
    .option('--resume', 'continue the last grading that was interrupted')
    .option('--output <folder>', 'where the report goes (default: a new folder .lab/gradings/<n>)')
    .option('--json', 'print the report as JSON')
    .addHelpText('after', EXAMPLES)
    .action(async (...args: unknown[]) => {
      const [paths, flags] = args as [string[], GradeFlags];
      await grade(paths, flags, signal);
    });
}

const EXAMPLES = `
Examples:
  lab grade hand-in.zip
  lab grade submissions/* --deadline 2026-12-01T23:59
  lab grade submissions/* --jobs 4 --resume
  lab grade --qemu ~/src/qemu-8.2.0-rc2.tar.xz --linux ~/src/linux-6.6.4 mine/
  lab grade --json hand-in/ > report.json`;

/** Options of every command that grades. */
export interface BenchFlags extends TreeFlags {
  readonly jobs?: number;
  readonly canary: boolean;
  readonly sandbox: boolean;
  readonly yes?: true;
  readonly timing?: true;
}

/** Options of `lab grade`. */
export interface GradeFlags extends BenchFlags {
  readonly lab: string;
  readonly deadline?: Date;
  readonly handedIn?: Date;
  readonly resume?: true;
  readonly output?: string;
  readonly json?: true;
}

/** Adds what decides with what, and how many at a time, is graded. */
export function addGradeOptions(command: Command): Command {
  return addTreeOptions(command)
    .option('-j, --jobs <n>', 'submissions at the same time (default: by cores and free memory)', atLeastOne)
    .option('--no-canary', 'do not grade the reference solution before and after')
    .option('--no-sandbox', 'for debugging only: run the code of submissions unconfined, as you')
    .option('-y, --yes', 'install missing host packages without asking')
    .option('--timing', 'print how long each step took') as unknown as Command;
}

async function grade(paths: readonly string[], flags: GradeFlags, signal: AbortSignal): Promise<void> {
  const { report, folder } = await gradePaths(paths, flags, signal);
  await conclude(report, folder, flags.json === true);
}

/** Grades hand-ins and writes all forms of the report. */
export async function gradePaths(
  paths: readonly string[],
  flags: GradeFlags,
  signal: AbortSignal,
): Promise<{ readonly report: GradeReport; readonly folder: string }> {
  const { nameHandIns } = await import('../../src/grade/hand-ins.js');
  const { loadGradingOf } = await import('../../src/grade/load-grading.js');
  const folders = await import('../../src/grade/grading-folder.js');
  const handIns = await nameHandIns(paths);
  const grading = await loadGradingOf(flags.lab);
  const { folder, resumed } = await chooseFolder(flags);
  const started = new Date().toISOString();
  const saved = { lab: flags.lab, flags: treeFlags(flags), started };
  const request = {
    handIns,
    folder,
    resume: resumed,
    ...(flags.deadline === undefined ? {} : { deadline: flags.deadline }),
    ...(flags.handedIn === undefined ? {} : { handedIn: flags.handedIn }),
  };
  await folders.saveGrading(folder, { ...saved, complete: false });
  const report = await withBench(grading, flags, signal, async ({ bench, context, timeouts, note }) => {
    const { gradeAll } = await import('../../src/grade/grade.js');
    const all = {
      ...{ ...request, grading, bench, canary: flags.canary, onGraded: note },
      jobs: flags.jobs ?? (await defaultJobs()),
    };
    return await gradeAll(all, { context, timeouts });
  });
  await folders.writeReports(folder, report);
  await folders.saveGrading(folder, { ...saved, complete: true });
  return { report, folder };
}

interface WithBench {
  readonly bench: Bench;
  readonly context: StepContext;
  readonly timeouts: Timeouts;
  readonly note: NonNullable<GradingRequest['onGraded']>;
}

/** Prepares what hand-ins are judged with, shows progress, and calls `use`. */
export async function withBench<T>(
  grading: Grading,
  flags: BenchFlags,
  signal: AbortSignal,
  use: (with_: WithBench) => Promise<T>,
): Promise<T> {
  const { needsOf } = await import('../../src/lab/needs.js');
  const { preflight } = await import('../preflight.js');
  const { hostTimeouts } = await import('../host.js');
  const { withDisplay } = await import('../ui/display.js');
  const { gradeSteps } = await import('../../src/grade/grade.js');
  if (!flags.sandbox) {
    const { allowUnconfined } = await import('../../src/sandbox/confinement.js');
    allowUnconfined();
    process.stderr.write(
      '--no-sandbox: the code of the submissions runs as you. Marks of this run do not count.\n',
    );
  }
  const options = treeOptions(grading.lab, flags);
  await preflight({ yes: flags.yes === true, needs: [...needsOf(options), 'sandbox'], signal });
  const timeouts = hostTimeouts();
  const steps = { ...grading.steps(options), ...gradeSteps };
  return await withDisplay({ steps, signal, timing: flags.timing === true }, async (context) => {
    const bench = await grading.open(options, context, timeouts);
    const note: WithBench['note'] = (submission, done, total) =>
      context.emit({ type: 'note', step: 'grade', text: `${done}/${total} ${oneLineOf(submission)}` });
    return await use({ bench, context, timeouts, note });
  });
}

function oneLineOf({ id, outcome, marks, timings }: GradedSubmission): string {
  const seconds = ((timings.total ?? 0) / 1000).toFixed(1);
  return `${id}: ${marks.got} of ${marks.max - marks.open}, ${outcome}, ${seconds} s`;
}

/** A submission builds on all cores for a moment and then keeps two busy; each needs some gigabytes at worst. */
export async function defaultJobs(): Promise<number> {
  const { availableParallelism, freemem } = await import('node:os');
  const byMemory = Math.floor(freemem() / (4 * 1024 ** 3));
  return Math.max(1, Math.min(Math.ceil(availableParallelism() / 2), byMemory));
}

async function chooseFolder({
  output,
  resume,
  lab,
}: GradeFlags): Promise<{ folder: string; resumed: boolean }> {
  const { mkdir } = await import('node:fs/promises');
  const { resolve } = await import('node:path');
  const { unfinishedGrading } = await import('../../src/grade/grading-folder.js');
  const { newGradingFolder } = await import('../../src/grade/run-folder.js');
  if (output !== undefined) {
    await mkdir(resolve(output), { recursive: true });
    return { folder: resolve(output), resumed: resume === true };
  }
  const before = resume === true ? await unfinishedGrading(lab) : undefined;
  return { folder: before ?? (await newGradingFolder()), resumed: before !== undefined };
}

/** What a later replay needs of the flags. */
export function treeFlags(flags: TreeFlags): TreeFlags {
  const { qemu, qemuVersion, linux, linuxVersion, kernelConfig, guest, alpineMirror, sourceMirror } = flags;
  return {
    ...{ kernelConfig, guest, alpineMirror, sourceMirror },
    ...(qemu === undefined ? {} : { qemu }),
    ...(qemuVersion === undefined ? {} : { qemuVersion }),
    ...(linux === undefined ? {} : { linux }),
    ...(linuxVersion === undefined ? {} : { linuxVersion }),
  };
}

async function conclude(report: GradeReport, folder: string, json: boolean): Promise<void> {
  const { summaryTable } = await import('../../src/grade/render/summary-table.js');
  const { toJson } = await import('../../src/grade/render/json-schema.js');
  const { reportFiles } = await import('../../src/grade/grading-folder.js');
  const { join } = await import('node:path');
  const out = json ? process.stderr : process.stdout;
  out.write(`${summaryTable(report).join('\n')}\n\n${join(folder, reportFiles.html)}\n`);
  if (json) process.stdout.write(toJson(report));
  await judgeExit(report);
}

/** Sets the exit code that a grading deserves. */
export async function judgeExit(report: GradeReport): Promise<void> {
  const { overall } = await import('../../src/grade/report.js');
  const { exitCodeForOutcome, exitCodes } = await import('../exit-codes.js');
  const dead = report.canaries.some(({ outcome }) => outcome !== 'passed');
  process.exitCode = dead ? exitCodes.host : exitCodeForOutcome(overall(report.submissions));
}

function time(text: string): Date {
  const date = new Date(text);
  if (!Number.isNaN(date.getTime())) return date;
  throw new InvalidArgumentError('a time looks like 2026-12-01T23:59 or 2026-12-01T23:59:00+01:00');
}

function atLeastOne(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1) return number;
  throw new InvalidArgumentError('a whole number from 1 on');
}
