import { LabError } from '../errors.js';
import type { IntakeProblem, Project } from './submission.js';

/** A sentence for the student: the fact, what was seen, one thing to do. */
export function problem(
  fact: string,
  next: string,
  more: { readonly evidence?: readonly string[]; readonly project?: Project } = {},
): IntakeProblem {
  const { evidence = [], project } = more;
  return { fact, evidence, next, ...(project === undefined ? {} : { project }) };
}

/** Errors that say something about the bytes of an archive, not about the host. */
export function isAboutArchive(error: unknown): boolean {
  if (!(error instanceof LabError)) return error instanceof Error && !('syscall' in error);
  return /^(zip\/|tar\/damaged|archive\/damaged)/.test(error.code);
}
