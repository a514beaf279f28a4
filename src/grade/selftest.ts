import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runStep } from '../events.js';
import type { Outcome } from '../lab/check.js';
import { type Fixture, makeHandIn } from './fixture.js';
import { type GradeContext, gradeAll } from './grade.js';
import type { GradedCheck, GradedSubmission, GradeReport } from './grade-report.js';
import type { GradingRequest } from './grading.js';
import { writeReports } from './grading-folder.js';
import { describeDifferences, diffReports } from './render/diff-reports.js';
import { visibleLines } from './render/text.js';
import { openWitness, type Trace } from './witness.js';

/** What grading our own fixtures showed about the grading. */
export interface SelftestReport {
  readonly schema: 'lab-selftest/1';
  readonly lab: string;
  readonly fixtures: readonly FixtureResult[];
  /** What hostile code left outside of its sandbox; empty when it stayed inside. */
  readonly traces: readonly Trace[];
  /**
   * Ids of checks that no bad or hostile fixture failed: they prove nothing. Only looked for when all fixtures ran;
   * those that do not apply to grading are left out.
   */
  readonly neverFailed: readonly string[];
  /** How the verdicts of repeated runs differ; empty when they are identical. */
  readonly unstable: readonly string[];
  readonly runs: number;
  /** Milliseconds. */
  readonly duration: number;
}

export interface FixtureResult {
  readonly name: string;
  readonly kind: Fixture['kind'];
  readonly wrong: readonly WrongLine[];
  readonly folder: string;
  /** Milliseconds. */
  readonly duration: number;
}

export interface WrongLine {
  readonly line: string;
  readonly expected: readonly Outcome[];
  readonly actual: Outcome;
  readonly fact: string;
  /** What was seen in the checks of the line that did not pass, each line with the id of its check; visible text. */
  readonly evidence: readonly string[];
}

export interface SelftestRequest extends Omit<GradingRequest, 'handIns' | 'resume'> {
  readonly fixtures: readonly Fixture[];
  /** Whether these are all fixtures of the lab. */
  readonly complete: boolean;
  readonly runs: number;
}

/** The step of `selftest` that comes before those of grading. */
export const selftestSteps = { 'hand-ins': 'Make hand-ins' } as const;

/** Grades fixtures whose verdicts are known, while witnesses watch the host if there are hostile ones among them. */
export async function selftest(request: SelftestRequest, options: GradeContext): Promise<SelftestReport> {
  const began = performance.now();
  const { fixtures, grading, folder, runs } = request;
  const handIns = await make(request, options);
  const watched = fixtures.some(({ kind }) => kind === 'hostile');
  await using witness = watched ? await openWitness() : undefined;
  const reports: GradeReport[] = [];
  for (let n = 1; n <= runs; n += 1) {
    const to = join(folder, `run-${n}`);
    await mkdir(to, { recursive: true });
    const report = await gradeAll({ ...request, handIns, folder: to, resume: false }, options);
    await writeReports(to, report);
    reports.push(report);
  }
  const [first, ...others] = reports as [GradeReport, ...GradeReport[]];
  return {
    schema: 'lab-selftest/1',
    lab: grading.lab.name,
    fixtures: fixtures.map((fixture, i) => compare(fixture, first.submissions[i] as GradedSubmission)),
    traces: (await witness?.traces([folder])) ?? [],
    neverFailed: request.complete ? neverFailed(fixtures, first.submissions) : [],
    unstable: others.flatMap((other) => describeDifferences(diffReports(first, other))),
    runs,
    duration: Math.round(performance.now() - began),
  };
}

/** Whether everything was as it has to be. */
export function isSound({ fixtures, traces, neverFailed: never, unstable }: SelftestReport): boolean {
  const right = fixtures.every(({ wrong }) => wrong.length === 0);
  return right && traces.length === 0 && never.length === 0 && unstable.length === 0;
}

async function make({ fixtures, bench, folder }: SelftestRequest, { context, timeouts }: GradeContext) {
  return await runStep(context, 'hand-ins', selftestSteps['hand-ins'], async (step) => {
    const handIns = [];
    for (const [i, fixture] of fixtures.entries()) {
      const id = `${fixture.kind}-${fixture.name}`;
      const into = join(folder, 'hand-ins', id);
      await mkdir(into, { recursive: true });
      const path = await makeHandIn(fixture, bench.trees, into, { signal: step.signal, timeouts });
      handIns.push({ id, path });
      step.progress(i + 1, fixtures.length, 'steps');
    }
    return { value: handIns, detail: `${handIns.length}` };
  });
}

/** Pure. */
export function compare(
  fixture: Pick<Fixture, 'name' | 'kind' | 'expect'>,
  graded: GradedSubmission,
): FixtureResult {
  const wrong = Object.entries(fixture.expect).flatMap(([line, wanted]): WrongLine[] => {
    const expected = [wanted].flat();
    const actual = graded.lines.find(({ id }) => id === line);
    if (actual !== undefined && expected.includes(actual.outcome)) return [];
    return [
      {
        line,
        expected,
        actual: actual?.outcome ?? 'error',
        fact: actual?.fact ?? '',
        evidence: actual?.checks.flatMap(evidenceOf) ?? [],
      },
    ];
  });
  const { name, kind } = fixture;
  return { name, kind, wrong, folder: graded.folder, duration: graded.timings.total ?? 0 };
}

const MOST_LINES = 20;
const MOST_CHARACTERS = 400;

function evidenceOf({ id, outcome, evidence }: GradedCheck): string[] {
  if (!FAILING.includes(outcome) && outcome !== 'error') return [];
  return visibleLines(evidence, MOST_CHARACTERS, MOST_LINES).map((line) => `${id}: ${line}`);
}

const FAILING: readonly Outcome[] = ['failed', 'crashed', 'timed-out'];

function neverFailed(fixtures: readonly Fixture[], submissions: readonly GradedSubmission[]): string[] {
  const all = submissions
    .flatMap(({ lines }) => lines.flatMap(({ checks }) => checks))
    .filter(({ outcome }) => outcome !== 'skipped');
  const bad = submissions.filter((_, i) => fixtures[i]?.kind !== 'good');
  const failed = new Set(
    bad.flatMap(({ lines }) =>
      lines.flatMap(({ checks }) =>
        checks.filter(({ outcome }) => FAILING.includes(outcome)).map(({ id }) => id),
      ),
    ),
  );
  return [...new Set(all.map(({ id }) => id))].filter((id) => !failed.has(id)).sort();
}
