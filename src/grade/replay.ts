import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runStep } from '../events.js';
import { copySubmission, finishEvidence, type LoadedRun, saveRun } from './evidence.js';
import type { GradeContext } from './grade.js';
import { gradeSteps } from './grade.js';
import type { GradeReport } from './grade-report.js';
import { gradedOf } from './graded.js';
import type { Bench, Grading } from './grading.js';
import { hostOf } from './host.js';
import { judgeOnce, Kept } from './judging.js';
import { Stages } from './stages.js';

/** Judges a submission once more from its evidence, with the same seeds, into a folder of its own. */
export async function replayOne(
  run: LoadedRun,
  { grading, bench, folder }: { readonly grading: Grading; readonly bench: Bench; readonly folder: string },
  { context, timeouts }: GradeContext,
): Promise<GradeReport> {
  const started = new Date();
  const dir = join(folder, run.id);
  const handIn = { id: run.id, path: run.input };
  const nonce = Buffer.from(run.nonce, 'hex');
  const graded = await runStep(context, 'grade', gradeSteps.grade, async (step) => {
    if (run.bench !== bench.digest) {
      step.note(
        'the checks or the sources are not those of the first run: a verdict may differ for that reason',
      );
    }
    const stages = new Stages();
    await mkdir(dir, { recursive: true });
    const submission = await copySubmission(run, dir);
    await saveRun(dir, { grading, bench, handIn, submission, nonce });
    const judged = await judgeOnce(bench, submission, {
      ...{ dir: join(dir, 'run'), nonce, stages, step, timeouts, tell: step.note, signal: step.signal },
      reuse: new Kept().attempt().reuse,
    });
    const value = gradedOf(submission, judged, { request: { grading, folder }, handIn, stages });
    await finishEvidence(dir, value, bench.digest);
    return { value };
  });
  return {
    schema: 'lab-grade/1',
    lab: grading.lab.name,
    started: started.toISOString(),
    duration: Date.now() - started.getTime(),
    host: hostOf(),
    sources: bench.sources,
    canaries: [],
    submissions: [graded],
  };
}
