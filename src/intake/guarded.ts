import { mkdir, rm, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { interrupted, LabError } from '../errors.js';
import type { Timeouts } from '../timeouts.js';
import { idOf } from './names.js';
import { problem } from './problems.js';
import type { IntakeProblem, Submission } from './submission.js';

export interface Reading {
  /** Empty private folder, filled with what is kept of the hand-in and `input.json`. */
  readonly into: string;
  readonly signal: AbortSignal;
  readonly timeouts: Timeouts;
}

/** What `read` is given of its surroundings. */
export interface Surroundings {
  readonly kind: 'folder' | 'file';
  /** Folder that is removed afterwards. */
  readonly scratch: string;
  /** Aborted as well when reading takes too long. */
  readonly signal: AbortSignal;
}

/**
 * Calls `read` for a hand-in; one that takes too long to read becomes a submission with that as its problem.
 *
 * @throws LabError `intake/no-input` when there is nothing at `path`; `interrupted`; what `read` throws.
 */
export async function readGuarded(
  path: string,
  options: Reading,
  read: (surroundings: Surroundings) => Promise<Submission>,
): Promise<Submission> {
  const info = await stat(path).catch((cause) => Promise.reject(noInput(path, cause)));
  if (!info.isFile() && !info.isDirectory()) throw noInput(path);
  const deadline = AbortSignal.timeout(options.timeouts.intake);
  const signal = AbortSignal.any([options.signal, deadline]);
  const scratch = join(options.into, 'scratch');
  await mkdir(scratch, { recursive: true });
  try {
    return await read({ kind: info.isDirectory() ? 'folder' : 'file', scratch, signal });
  } catch (error) {
    if (options.signal.aborted) throw interrupted(`taking in ${path}`);
    if (!deadline.aborted) throw error;
    return rejected(path, [tooSlow()]);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

function rejected(path: string, problems: readonly IntakeProblem[]): Submission {
  return { id: idOf(basename(resolve(path))), input: path, digest: '', parts: {}, changes: [], problems };
}

function tooSlow(): IntakeProblem {
  return problem(
    'the hand-in is so large that reading it was given up; nothing of it was graded',
    'hand in your own changes only, without build products and without whole source trees',
  );
}

function noInput(path: string, cause?: unknown): LabError {
  return new LabError({
    code: 'intake/no-input',
    blame: 'user',
    fact: `there is no file or folder ${path}`,
    next: 'name the folder, archive or patch that was handed in',
    cause,
  });
}
