import { LabError } from '../errors.js';
import type { Submission } from '../intake/submission.js';
import type { GradedLine, GradedSubmission } from './grade-report.js';
import type { GradingRequest, HandIn, Judged, JudgedLine, LineSpec } from './grading.js';
import { type Lateness, lateness, outcomeOf, sumMarks } from './marks.js';
import { overall } from './report.js';
import type { Stages } from './stages.js';

interface About {
  readonly request: Pick<GradingRequest, 'grading' | 'deadline' | 'handedIn' | 'folder'>;
  readonly handIn: HandIn;
  readonly stages: Stages;
}

/** Marks for what was seen. A line gets its marks when all its checks passed, and none otherwise. */
export function gradedOf(submission: Submission, judged: Judged, about: About): GradedSubmission {
  const { grading } = about.request;
  const lines = grading.lines.map((spec) => lineOf(spec, judged.lines.get(spec.id), about.handIn));
  return {
    ...common(lines, about, latenessOf(submission, about.request)),
    digest: submission.digest,
    changes: [...submission.changes, ...judged.changes],
    problems: submission.problems.map(({ fact, evidence, next }) => ({ fact, evidence, next })),
    buildFiles: judged.buildFiles,
    warnings: judged.warnings,
    consoles: judged.consoles,
    crashes: judged.crashes,
  };
}

/** A submission that could not be judged for a reason that is not its own. */
export function failedToJudge(error: unknown, about: About): GradedSubmission {
  const fact = error instanceof Error ? error.message : String(error);
  const evidence = error instanceof LabError ? error.evidence : [String((error as Error).stack ?? error)];
  const lines = about.request.grading.lines.map(
    (spec): GradedLine => ({
      ...lineOf(spec, undefined, about.handIn),
      ...(spec.person ? {} : { outcome: 'error', blame: 'host', fact, evidence }),
    }),
  );
  return {
    ...common(lines, about, undefined),
    ...{ digest: '', changes: [], problems: [], buildFiles: [], warnings: [], consoles: [], crashes: [] },
  };
}

function common(lines: readonly GradedLine[], { handIn, stages }: About, late: Lateness | undefined) {
  return {
    id: handIn.id,
    input: handIn.path,
    outcome: outcomeOf(lines),
    marks: sumMarks(lines, late),
    lines,
    timings: stages.timings,
    timeline: stages.spans,
    folder: handIn.id,
  };
}

function lineOf(spec: LineSpec, judged: JudgedLine | undefined, handIn: HandIn): GradedLine {
  const { id, title, max } = spec;
  const reproduce = `./lab replay ${handIn.id}`;
  const base = { id, title, max, reproduce, code: judged?.code ?? [] };
  const { checks = [], evidence = [] } = judged ?? {};
  if (spec.person) return { ...base, outcome: 'skipped', marks: 0, evidence, checks };
  const outcome = overall(checks);
  const worst = checks.find((check) => check.outcome === outcome);
  const seen = [...checks.flatMap((check) => check.evidence), ...evidence];
  if (outcome === 'passed') return { ...base, outcome, marks: max, evidence: seen, checks };
  const { blame, fact, hint } = worst ?? {};
  return {
    ...base,
    outcome,
    marks: 0,
    ...(blame === undefined ? {} : { blame }),
    ...(fact === undefined ? {} : { fact }),
    ...(hint === undefined ? {} : { hint }),
    evidence: [...(worst?.evidence ?? []), ...seen.filter((line) => !worst?.evidence.includes(line))],
    checks,
  };
}

function latenessOf(
  { handedIn: fromFiles }: Submission,
  { deadline, handedIn }: Pick<GradingRequest, 'deadline' | 'handedIn'>,
): Lateness | undefined {
  const when = handedIn ?? fromFiles;
  if (deadline === undefined || when === undefined) return undefined;
  return lateness(deadline, when, handedIn === undefined ? 'the newest file handed in' : '--handed-in');
}
