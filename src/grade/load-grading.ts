import { LabError } from '../errors.js';
import { loadLab, loadPart } from '../lab/registry.js';
import type { Grading } from './grading.js';

/**
 * How hand-ins of a lab are graded.
 *
 * @throws LabError `lab/unknown`, `grade/no-grading` for a lab without a marking scheme.
 */
export async function loadGradingOf(name: string): Promise<Grading> {
  await loadLab(name);
  const part = (await loadPart(name, 'grading')) as { grading: Grading } | undefined;
  if (part !== undefined) return part.grading;
  throw new LabError({
    code: 'grade/no-grading',
    blame: 'user',
    fact: `hand-ins of the lab ${name} cannot be graded: it has no marking scheme`,
    next: 'choose another lab with --lab; `lab grade --help` lists those that can be graded',
  });
}
