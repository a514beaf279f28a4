import { LabError } from '../errors.js';
import { nearest } from '../host/nearest.js';
import { labNames, loadLab, loadPart } from '../lab/registry.js';
import type { BenchVariant, LabBench } from './bench.js';

/**
 * What `lab bench` measures of a lab.
 *
 * @throws LabError `lab/unknown`, `bench/none` for a lab that offers nothing to be measured.
 */
export async function loadBenchOf(name: string): Promise<LabBench> {
  await loadLab(name);
  const part = (await loadPart(name, 'bench')) as { bench: LabBench } | undefined;
  if (part !== undefined) return part.bench;
  throw new LabError({
    code: 'bench/none',
    blame: 'user',
    fact: `the lab ${name} has nothing that could be measured: it has no variants to compare`,
    evidence: [`labs with a bench: ${(await measurable()).join(', ')}`],
    next: 'choose one of these',
  });
}

async function measurable(): Promise<string[]> {
  const names = labNames();
  const parts = await Promise.all(names.map((name) => loadPart(name, 'bench')));
  return names.filter((_, index) => parts[index] !== undefined);
}

/**
 * The variants of these names, in the bench's order, with the yardstick among them; all when none is named.
 *
 * @throws LabError `usage/variants` with the known names and the nearest one.
 */
export function chooseVariants(
  bench: LabBench,
  names: readonly string[] | undefined,
): readonly BenchVariant[] {
  if (names === undefined) return bench.variants;
  const known = bench.variants.map(({ id }) => id);
  const wrong = names.find((name) => !known.includes(name));
  if (wrong === undefined) {
    return bench.variants.filter(({ id }) => id === bench.yardstick || names.includes(id));
  }
  const near = nearest(wrong, known);
  throw new LabError({
    code: 'usage/variants',
    blame: 'user',
    fact: `the bench of ${bench.lab.name} has no variant ${wrong}`,
    evidence: [`known: ${known.join(', ')}`],
    next: near === undefined ? 'choose some of these' : `did you mean ${near}?`,
  });
}
