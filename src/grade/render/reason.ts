import type { Outcome } from '../../lab/check.js';
import type { GradedLine, GradedSubmission, GradeReport } from '../grade-report.js';
import { count } from './text.js';

/** What an outcome is called towards people. */
export const WORDS: Readonly<Record<Outcome, string>> = {
  passed: 'passed',
  failed: 'failed',
  crashed: 'crashed',
  'timed-out': 'timed out',
  blocked: 'not reached',
  skipped: 'open',
  error: 'host fault',
};

/** Lines that lost marks or could not be judged. */
export function isFailing({ outcome }: Pick<GradedLine, 'outcome'>): boolean {
  return outcome !== 'passed' && outcome !== 'skipped';
}

/** The line that decides the outcome: the first of the gravest, nothing when all passed or are open. */
export function decisiveLine({ outcome, lines }: GradedSubmission): GradedLine | undefined {
  return lines.find((line) => isFailing(line) && line.outcome === outcome) ?? lines.find(isFailing);
}

/** Why a submission did not pass, or what was wrong with the hand-in. Empty when nothing was. */
export function reasonOf(submission: GradedSubmission): string {
  const line = decisiveLine(submission);
  return line?.fact ?? line?.title ?? submission.problems[0]?.fact ?? '';
}

export interface Alarm {
  readonly title: string;
  readonly text: string;
}

/** What makes a whole grading doubtful, gravest first. */
export function alarmsOf({ host, canaries, submissions }: GradeReport): Alarm[] {
  const sick = canaries.filter(({ outcome }) => outcome !== 'passed');
  const errors = submissions.filter(({ outcome }) => outcome === 'error');
  const alarms: (Alarm | false)[] = [
    !host.sandboxed && {
      title: 'Graded without a sandbox',
      text: 'Submissions ran with the rights of the grader. Use this report for debugging only, and grade again without --no-sandbox.',
    },
    ...sick.map(({ when, outcome, fact }) => ({
      title: `The reference solution did not pass at the ${when}`,
      text: `Outcome: ${WORDS[outcome]}${fact === undefined ? '' : `, ${fact}`}. What submissions lost may be the fault of this host: repair it and grade again.`,
    })),
    canaries.length === 0 && {
      title: 'The reference solution was not graded',
      text: 'Nothing shows that this host grades correctly.',
    },
    errors.length > 0 && {
      title: `The host failed for ${count(errors.length, 'submission')}`,
      text: 'No marks were charged for that. Grade them again with --resume once the host is repaired.',
    },
  ];
  return alarms.filter((alarm) => alarm !== false);
}
