import type { Command } from '@commander-js/extra-typings';
import type { BenchFlags } from './grade.js';

/** `lab replay`: the same submission once more, with the same seeds. */
export function addReplay(program: Command, signal: AbortSignal): void {
  program
    .command('replay')
    .summary('grade a submission again from its evidence folder')
    .description(
      'Judges the submission whose evidence lies in the folder once more, with the same seeds and, as far as they are\n' +
        'still there, the same sources, and says whether the verdict is the same. The evidence is left as it is.',
    )
    .argument('<folder>', 'evidence folder of one submission: .lab/gradings/<n>/<submission>')
    .option('--json', 'print the report as JSON')
    .option('--timing', 'print how long each step took')
    .action(async (folder, flags) => {
      await replay(folder, flags, signal);
    });
}

async function replay(
  folder: string,
  flags: { readonly json?: true | undefined; readonly timing?: true | undefined },
  signal: AbortSignal,
): Promise<void> {
  const { resolve, dirname } = await import('node:path');
  const { loadRun, loadVerdict } = await import('../../src/grade/evidence.js');
  const folders = await import('../../src/grade/grading-folder.js');
  const { loadGradingOf } = await import('../../src/grade/load-grading.js');
  const { newGradingFolder } = await import('../../src/grade/run-folder.js');
  const { withBench } = await import('./grade.js');
  const dir = await findFolder(folder);
  const run = await loadRun(dir);
  const saved = await folders.loadGrading(dirname(resolve(dir)));
  const grading = await loadGradingOf(run.lab);
  const to = await newGradingFolder();
  const bench: BenchFlags = {
    ...(saved.flags as BenchFlags),
    ...{ canary: false, sandbox: true },
    ...(flags.timing === true ? { timing: true } : {}),
  };
  const report = await withBench(grading, bench, signal, async ({ bench: ready, context, timeouts }) => {
    const { replayOne } = await import('../../src/grade/replay.js');
    return await replayOne(run, { grading, bench: ready, folder: to }, { context, timeouts });
  });
  await folders.saveGrading(to, { ...saved, started: report.started, complete: true });
  await folders.writeReports(to, report);
  await conclude(await loadVerdict(dir), report, to, flags.json === true);
}

/** Reports name folders relative to their own. */
async function findFolder(folder: string): Promise<string> {
  const { stat } = await import('node:fs/promises');
  const { join } = await import('node:path');
  const { gradingsRoot } = await import('../../src/grade/run-folder.js');
  const { lastGrading } = await import('../../src/grade/grading-folder.js');
  const places = [folder, join(gradingsRoot(), folder), join((await lastGrading()) ?? folder, folder)];
  for (const place of places) if (await stat(join(place, 'run.json')).catch(() => undefined)) return place;
  return folder;
}

async function conclude(
  before: import('../../src/grade/grade-report.js').GradedSubmission,
  report: import('../../src/grade/grade-report.js').GradeReport,
  folder: string,
  json: boolean,
): Promise<void> {
  const { describeDifferences, diffReports } = await import('../../src/grade/render/diff-reports.js');
  const { summaryTable } = await import('../../src/grade/render/summary-table.js');
  const { toJson } = await import('../../src/grade/render/json-schema.js');
  const { exitCodes } = await import('../exit-codes.js');
  const out = json ? process.stderr : process.stdout;
  const differences = diffReports({ ...report, submissions: [before] }, report);
  out.write(`${summaryTable(report).join('\n')}\n\n`);
  out.write(
    differences.length === 0
      ? 'The verdict is the same.\n'
      : `${describeDifferences(differences).join('\n')}\n`,
  );
  out.write(`${folder}\n`);
  if (json) process.stdout.write(toJson(report));
  process.exitCode = differences.length === 0 ? exitCodes.ok : exitCodes.failed;
}
