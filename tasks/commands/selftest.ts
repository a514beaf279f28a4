import type { Command } from '@commander-js/extra-typings';
import type { SelftestReport } from '../../src/grade/selftest.js';
import { labArgument } from '../options.js';
import { addGradeOptions, type BenchFlags } from './grade.js';

/** `lab selftest`: does grading give our own good, bad and hostile hand-ins the verdicts they deserve? */
export function addSelftest(program: Command, signal: AbortSignal): void {
  const command = program
    .command('selftest')
    .summary('grade fixtures whose verdicts are known')
    .description(
      'Grades the good, bad and hostile hand-ins that belong to the lab and compares each line with the verdict that it\n' +
        'has to get, while witnesses watch this host for anything that leaves the sandbox. Names checks that nothing fails.',
    )
    .addArgument(labArgument()) as unknown as Command;
  addGradeOptions(command)
    .option('--filter <text>', 'only fixtures whose kind and name contain this, such as bad/device')
    .option('--runs <n>', 'grade everything so many times; verdicts must be identical', Number, 1)
    .option('--list', 'list the fixtures, run none')
    .option('--json', 'print the result as JSON')
    .action(async (...args: unknown[]) => {
      const [lab, flags] = args as [string, SelftestFlags];
      await selftest(lab, flags, signal);
    });
}

interface SelftestFlags extends BenchFlags {
  readonly filter?: string;
  readonly runs: number;
  readonly list?: true;
  readonly json?: true;
}

async function selftest(name: string, flags: SelftestFlags, signal: AbortSignal): Promise<void> {
  const { loadGradingOf } = await import('../../src/grade/load-grading.js');
  const { listFixtures } = await import('../../src/grade/fixture.js');
  const { saveGrading } = await import('../../src/grade/grading-folder.js');
  const { newGradingFolder } = await import('../../src/grade/run-folder.js');
  const { defaultJobs, treeFlags, withBench } = await import('./grade.js');
  const grading = await loadGradingOf(name);
  const all = await listFixtures(name);
  const fixtures = all.filter((fixture) => `${fixture.kind}/${fixture.name}`.includes(flags.filter ?? ''));
  if (flags.list === true || fixtures.length === 0) return list(fixtures, all.length);
  const folder = await newGradingFolder();
  const jobs = flags.jobs ?? (await defaultJobs());
  const report = await withBench(grading, flags, signal, async ({ bench, context, timeouts, note }) => {
    const { selftest: run } = await import('../../src/grade/selftest.js');
    const { runs, canary } = flags;
    const complete = fixtures.length === all.length;
    const request = { grading, bench, fixtures, complete, folder, jobs, runs, canary, onGraded: note };
    return await run(request, { context, timeouts });
  });
  const started = new Date().toISOString();
  await saveGrading(folder, { lab: name, flags: treeFlags(flags), started, complete: true });
  await conclude(report, folder, flags.json === true);
}

function list(fixtures: readonly { kind: string; name: string; title: string }[], total: number): void {
  for (const { kind, name, title } of fixtures)
    process.stdout.write(`${`${kind}/${name}`.padEnd(36)} ${title}\n`);
  process.stdout.write(`${fixtures.length} of ${total} fixtures\n`);
}

async function conclude(report: SelftestReport, folder: string, json: boolean): Promise<void> {
  const { isSound } = await import('../../src/grade/selftest.js');
  const { describeSelftest } = await import('../ui/selftest.js');
  const { exitCodes } = await import('../exit-codes.js');
  const { writeFile } = await import('node:fs/promises');
  const { join } = await import('node:path');
  const text = `${JSON.stringify(report, null, 2)}\n`;
  await writeFile(join(folder, 'selftest.json'), text);
  const out = json ? process.stderr : process.stdout;
  out.write(`${describeSelftest(report).join('\n')}\n${folder}\n`);
  if (json) process.stdout.write(text);
  process.exitCode = isSound(report) ? exitCodes.ok : exitCodes.failed;
}
