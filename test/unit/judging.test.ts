import { describe, expect, test } from 'vitest';
import type { Judged, JudgeRun } from '../../src/grade/grading.js';
import { judgeTwice, Kept } from '../../src/grade/judging.js';
import { Stages } from '../../src/grade/stages.js';
import type { Submission } from '../../src/intake/submission.js';
import type { Outcome } from '../../src/lab/check.js';
import { scaled } from '../../src/timeouts.js';
import { quietStep } from '../support/quiet-step.js';

const submission: Submission = { id: 'one', input: 'one', digest: 'd', parts: {}, changes: [], problems: [] };
const step = quietStep();
const run = {
  ...{ dir: '/none', nonce: Buffer.alloc(64), stages: new Stages(), step, timeouts: scaled(1) },
  ...{ tell: () => {}, signal: step.signal },
};

function judgedAs(outcome: Outcome): Judged {
  const check = { id: 'c', title: 'c', outcome, evidence: [], on: 'it', duration: 0 };
  const none = { changes: [], warnings: [], buildFiles: [], consoles: [], crashes: [] };
  return { ...none, lines: new Map([['line', { checks: [check], evidence: [] }]]) };
}

/** Judges a half that comes to these outcomes, one after another, when it is looked at anew. */
function benchOf(outcomes: Outcome[]) {
  const seen: Outcome[] = [];
  const look = async () => {
    const outcome = outcomes[seen.length] ?? 'passed';
    seen.push(outcome);
    return outcome;
  };
  const judge = async (_: Submission, { reuse }: JudgeRun) => judgedAs(await reuse('half', look));
  return { seen, judge };
}

function outcomeOf({ lines }: Judged): Outcome | undefined {
  return lines.get('line')?.checks[0]?.outcome;
}

describe('a verdict', () => {
  test('that this host is to blame for is tried once more, anew', async () => {
    const bench = benchOf(['error', 'failed']);
    const kept = new Kept();
    expect(outcomeOf(await judgeTwice(bench, submission, run, kept))).toBe('failed');
    expect(outcomeOf(await judgeTwice(bench, submission, run, kept))).toBe('failed');
    expect(bench.seen).toEqual(['error', 'failed']);
  });

  test('that this host is to blame for twice is none on the next hand-in with the same half', async () => {
    const bench = benchOf(['error', 'error', 'passed']);
    const kept = new Kept();
    expect(outcomeOf(await judgeTwice(bench, submission, run, kept))).toBe('error');
    expect(outcomeOf(await judgeTwice(bench, submission, run, kept))).toBe('passed');
  });

  test('is found once for the same half of two hand-ins, also at the same time', async () => {
    const bench = benchOf(['failed', 'passed']);
    const kept = new Kept();
    const both = [submission, submission].map((each) => judgeTwice(bench, each, run, kept));
    expect((await Promise.all(both)).map(outcomeOf)).toEqual(['failed', 'failed']);
  });

  test('is tried once more as well when looking ended in an error', async () => {
    let calls = 0;
    const judge = async (_: Submission, { reuse }: JudgeRun) =>
      await reuse('half', async () => {
        calls += 1;
        if (calls === 1) throw new Error('no sandbox');
        return judgedAs('passed');
      });
    expect(outcomeOf(await judgeTwice({ judge }, submission, run, new Kept()))).toBe('passed');
    expect(calls).toBe(2);
    expect(step.notes.at(-1)).toBe('one is judged once more after a fault of this host: no sandbox');
  });
});
