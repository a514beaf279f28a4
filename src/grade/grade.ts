import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isAbort, LabError } from '../errors.js';
import { runStep, type Step, type StepContext } from '../events.js';
import type { Submission } from '../intake/submission.js';
import type { Timeouts } from '../timeouts.js';
import { finishEvidence, loadGraded, saveRun } from './evidence.js';
import { listFixtures, makeHandIn } from './fixture.js';
import type { Canary, GradedSubmission, GradeReport } from './grade-report.js';
import { failedToJudge, gradedOf } from './graded.js';
import type { Bench, Grading, GradingRequest, HandIn, JudgeRun } from './grading.js';
import { hostOf } from './host.js';
import { hasError, judgeTwice, Kept } from './judging.js';
import { sumMarks } from './marks.js';
import { Stages } from './stages.js';

export interface GradeContext {
  readonly context: StepContext;
  readonly timeouts: Timeouts;
}

/** The steps of `gradeAll`, for a display that lists them before they start. */
export const gradeSteps = {
  'canary-start': 'Reference solution, before',
  grade: 'Grade',
  'canary-end': 'Reference solution, after',
} as const;

/**
 * Grades hand-ins, several at a time, each in a folder of its own. What happens to one does not touch the others.
 *
 * @throws LabError `grade/canary` when the reference solution does not get full marks before the first one;
 *   `interrupted`. What was graded until then is kept and taken over by a resumed grading.
 */
export async function gradeAll(request: GradingRequest, options: GradeContext): Promise<GradeReport> {
  const started = new Date();
  const canaries: Canary[] = [];
  if (request.canary) canaries.push(await canary('start', request, options));
  const submissions = await runStep(options.context, 'grade', gradeSteps.grade, async (step) => {
    const graded = await gradeEach(request, step, options);
    return { value: graded, detail: `${graded.length} graded` };
  });
  if (request.canary && request.handIns.length > 1) canaries.push(await canary('end', request, options));
  return {
    schema: 'lab-grade/1',
    lab: request.grading.lab.name,
    started: started.toISOString(),
    duration: Date.now() - started.getTime(),
    host: hostOf(),
    sources: request.bench.sources,
    canaries,
    submissions,
  };
}

async function gradeEach(
  request: GradingRequest,
  step: Step,
  { timeouts }: GradeContext,
): Promise<GradedSubmission[]> {
  const { handIns, jobs } = request;
  const results: GradedSubmission[] = [];
  const kept = new Kept();
  // of many, only the verdicts are news
  const tell = (text: string) => (handIns.length === 1 ? step.note(text) : step.output(text));
  let next = 0;
  let done = 0;
  const worker = async () => {
    while (next < handIns.length) {
      const index = next++;
      const handIn = handIns[index] as HandIn;
      const graded = await gradeOne(handIn, request, { step, timeouts, kept, tell });
      results[index] = graded;
      done += 1;
      step.progress(done, handIns.length, 'steps');
      request.onGraded?.(graded, done, handIns.length);
    }
  };
  step.progress(0, handIns.length, 'steps');
  await Promise.all(Array.from({ length: Math.max(1, Math.min(jobs, handIns.length)) }, worker));
  return results;
}

interface OneContext {
  readonly step: Step;
  readonly timeouts: Timeouts;
  readonly kept: Kept;
  readonly tell: JudgeRun['tell'];
}

/** Grades one hand-in, whatever it is; only an interruption is thrown. */
export async function gradeOne(
  handIn: HandIn,
  request: Omit<GradingRequest, 'handIns' | 'jobs' | 'canary'>,
  { step, timeouts, kept, tell }: OneContext,
): Promise<GradedSubmission> {
  const { grading, bench } = request;
  const dir = join(request.folder, handIn.id);
  const stages = new Stages();
  await mkdir(dir, { recursive: true });
  try {
    const submission = await stages.run('intake', 'Take in', () =>
      read(handIn, dir, request, { step, timeouts }),
    );
    const before = request.resume ? await loadGraded(dir, submission.digest, bench.digest) : undefined;
    if (before !== undefined) return before;
    const nonce = handIn.nonce ?? randomBytes(64);
    await saveRun(dir, { grading, bench, handIn, submission, nonce });
    const run = { dir, nonce, stages, step, timeouts, tell, signal: step.signal };
    const { reuse, forget } = kept.attempt();
    const { id, judged } = await reuse(`hand-in ${submission.digest}`, async () => ({
      id: handIn.id,
      judged: await judgeTwice(bench, submission, run, kept),
    }));
    if (hasError(judged)) forget();
    const sameAs = id === handIn.id ? {} : { sameAs: id };
    const graded = { ...gradedOf(submission, judged, { request, handIn, stages }), ...sameAs };
    await finishEvidence(dir, graded, bench.digest);
    return graded;
  } catch (error) {
    if (isAbort(error) || step.signal.aborted) throw error;
    const graded = failedToJudge(error, { request, handIn, stages });
    await finishEvidence(dir, graded, bench.digest);
    return graded;
  }
}

async function read(
  handIn: HandIn,
  dir: string,
  { bench }: Pick<GradingRequest, 'bench'>,
  { step, timeouts }: { readonly step: Step; readonly timeouts: Timeouts },
): Promise<Submission> {
  const into = join(dir, 'hand-in');
  await mkdir(into, { recursive: true });
  return await bench.takeIn(handIn.path, { into, signal: step.signal, timeouts });
}

async function canary(
  when: Canary['when'],
  request: GradingRequest,
  { context, timeouts }: GradeContext,
): Promise<Canary> {
  const { grading, bench } = request;
  const id = `canary-${when}` as const;
  return await runStep(context, id, gradeSteps[id], async (step) => {
    const began = performance.now();
    const path = await goldenHandIn(grading, bench, join(request.folder, id, 'made'), { step, timeouts });
    const one = { ...request, resume: false, folder: request.folder };
    const graded = await gradeOne({ id, path }, one, {
      step,
      timeouts,
      kept: new Kept(),
      tell: (text) => step.output(text),
    });
    const result = canaryOf(when, graded, performance.now() - began);
    if (when === 'start' && result.outcome !== 'passed') throw deadCanary(result, graded);
    return { value: result, detail: result.fact ?? 'full marks' };
  });
}

async function goldenHandIn(
  grading: Grading,
  bench: Bench,
  into: string,
  { step, timeouts }: { readonly step: Step; readonly timeouts: Timeouts },
): Promise<string> {
  await mkdir(into, { recursive: true });
  const fixtures = await listFixtures(grading.lab.name);
  const golden = fixtures.find(({ kind, name }) => kind === 'good' && name === grading.golden);
  if (golden === undefined) throw new TypeError(`${grading.lab.name} has no good fixture ${grading.golden}`);
  return await makeHandIn(golden, bench.trees, into, { signal: step.signal, timeouts });
}

function canaryOf(when: Canary['when'], graded: GradedSubmission, duration: number): Canary {
  const { got, max, open } = sumMarks(graded.lines);
  const whole = got === max - open;
  const bad = graded.lines.find(({ outcome }) => outcome !== 'passed' && outcome !== 'skipped');
  if (whole && bad === undefined) return { when, outcome: 'passed', duration: Math.round(duration) };
  const fact = `the reference solution got ${got} of ${max - open} marks: ${bad?.id}: ${bad?.fact ?? bad?.outcome}`;
  return { when, outcome: 'error', fact, duration: Math.round(duration) };
}

function deadCanary({ fact = '' }: Canary, { lines, folder }: GradedSubmission): LabError {
  const bad = lines.filter(({ outcome }) => outcome !== 'passed' && outcome !== 'skipped');
  return new LabError({
    code: 'grade/canary',
    blame: 'host',
    fact: 'the reference solution does not get full marks on this host, so nothing was graded',
    evidence: [fact, ...bad.flatMap((line) => line.evidence).slice(0, 20)],
    log: folder,
    next: 'run `lab selftest` for more; a host that is very busy or short of memory is the usual cause',
  });
}
