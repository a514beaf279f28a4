import { join } from 'node:path';
import { isAbort } from '../errors.js';
import type { Submission } from '../intake/submission.js';
import { withMemory } from '../sandbox/jail.js';
import type { GradedCheck } from './grade-report.js';
import type { Bench, Judged, JudgeRun } from './grading.js';

type Judge = Pick<Bench, 'judge'>;

/** A verdict that this host had the memory for; one without a fault needs none. Throws as `withMemory` and `judge` do. */
export async function judgeOnce(bench: Judge, submission: Submission, run: JudgeRun): Promise<Judged> {
  return await withMemory(() => bench.judge(submission, run), isWhole);
}

/**
 * A fault of the host is nobody's grade: it is tried once more, and without what the first attempt had found.
 *
 * @param run `dir` gets a folder for each attempt.
 */
export async function judgeTwice(
  bench: Judge,
  submission: Submission,
  run: Omit<JudgeRun, 'reuse'>,
  kept: Kept,
): Promise<Judged> {
  const attempt = async (name: string) => {
    const { reuse, forget } = kept.attempt();
    const half: JudgeRun['reuse'] = (key, make) => reuse(key, () => withMemory(make));
    try {
      const judged = await judgeOnce(bench, submission, { ...run, reuse: half, dir: join(run.dir, name) });
      if (hasError(judged)) forget();
      return judged;
    } catch (error) {
      forget();
      throw error;
    }
  };
  let fault: string | undefined;
  try {
    const judged = await attempt('run');
    const wrong = checksOf(judged).find(isError);
    if (wrong === undefined) return judged;
    fault = wrong.fact;
  } catch (error) {
    if (isAbort(error) || run.signal.aborted) throw error;
    fault = error instanceof Error ? error.message : String(error);
  }
  run.step.note(`${submission.id} is judged once more after a fault of this host: ${fault ?? 'unknown'}`);
  return await attempt('again');
}

/** Whether something of it has to be judged again, because this host was at fault. */
export function hasError(judged: Judged): boolean {
  return checksOf(judged).some(isError);
}

function isError({ outcome }: GradedCheck): boolean {
  return outcome === 'error';
}

function isWhole(judged: Judged): boolean {
  return checksOf(judged).every(({ outcome }) => outcome === 'passed' || outcome === 'skipped');
}

function checksOf({ lines }: Judged): readonly GradedCheck[] {
  return [...lines.values()].flatMap(({ checks }) => checks);
}

/** What was found about hand-ins, and about halves of them, in one grading. */
export class Kept {
  readonly #known = new Map<string, Promise<unknown>>();

  /** For one attempt at a verdict, whose findings are forgotten when it turns out that the host was at fault. */
  attempt(): { readonly reuse: JudgeRun['reuse']; readonly forget: () => void } {
    const used = new Map<string, Promise<unknown>>();
    const reuse = async <T>(key: string, make: () => Promise<T>): Promise<T> => {
      const value = (this.#known.get(key) as Promise<T> | undefined) ?? make();
      used.set(key, value);
      this.#known.set(key, value);
      return await value.catch((error) => {
        this.#forget(key, value);
        throw error;
      });
    };
    const forget = () => {
      for (const [key, value] of used) this.#forget(key, value);
    };
    return { reuse, forget };
  }

  #forget(key: string, value: Promise<unknown>): void {
    if (this.#known.get(key) === value) this.#known.delete(key);
  }
}
