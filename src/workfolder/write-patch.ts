import { join } from 'node:path';
import { run } from '../host/run.js';
import type { Difference } from './compare.js';

/** With what every patch of ours begins. */
export const BEGINNING = 'diff -urN a/';

export interface WritePatchOptions {
  readonly pristine: string;
  readonly work: string;
  readonly signal: AbortSignal;
  /** Milliseconds for one run of diff. */
  readonly timeout: number;
}

/**
 * The differences as one unified diff, as `diff -urN a b` makes it: names begin with `a/` and `b/`, so that it applies
 * with `patch -p1` in any tree, and there are no times, so that the same work gives the same bytes.
 *
 * @returns one character per byte; empty when no content differs.
 * @throws LabError `run/missing`, `run/failed`, `run/timeout`, `interrupted`.
 */
export async function writePatchOf(
  differences: readonly Difference[],
  options: WritePatchOptions,
): Promise<string> {
  const sections: string[] = [];
  for (const difference of differences) sections.push(await section(difference, options));
  return sections.join('');
}

async function section(
  { path, kind }: Difference,
  { pristine, work, signal, timeout }: WritePatchOptions,
): Promise<string> {
  const absent = '/dev/null';
  const before = kind === 'added' ? absent : join(pristine, path);
  const after = kind === 'deleted' ? absent : join(work, path);
  const labels = [kind === 'added' ? absent : `a/${path}`, kind === 'deleted' ? absent : `b/${path}`];
  const args = ['--unified', '--text', ...labels.flatMap((label) => ['--label', label]), '--', before, after];
  const { stdout } = await run('diff', args, {
    ...{ accept: [0, 1], encoding: 'latin1', env: { LC_ALL: 'C' }, signal, timeout },
  });
  return stdout === '' ? '' : `${BEGINNING}${path} b/${path}\n${stdout}`;
}
