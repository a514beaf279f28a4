import type { Operation } from './operation.js';

/**
 * The fewest of `operations`, in their order, with which `reproduces` still says yes: first the shortest end of them,
 * then without ever smaller parts (delta debugging). Undefined when not even all of them do.
 *
 * @param always come before the end that is tried, as long as they are needed.
 * @param enough ends the search early with what was found until then.
 */
export async function shrink(
  operations: readonly Operation[],
  always: readonly Operation[],
  reproduces: (operations: readonly Operation[]) => Promise<boolean>,
  enough: () => boolean,
): Promise<readonly Operation[] | undefined> {
  const end = await shortestEnd(operations, always, reproduces, enough);
  return end === undefined ? undefined : await fewest(end, reproduces, enough);
}

async function shortestEnd(
  operations: readonly Operation[],
  always: readonly Operation[],
  reproduces: (operations: readonly Operation[]) => Promise<boolean>,
  enough: () => boolean,
): Promise<readonly Operation[] | undefined> {
  for (let length = 16; length < operations.length && !enough(); length *= 4) {
    const candidate = [...always, ...operations.slice(-length)];
    if (await reproduces(candidate)) return candidate;
  }
  return (await reproduces(operations)) ? operations : undefined;
}

async function fewest(
  operations: readonly Operation[],
  reproduces: (operations: readonly Operation[]) => Promise<boolean>,
  enough: () => boolean,
): Promise<readonly Operation[]> {
  let kept = operations;
  for (let part = Math.ceil(kept.length / 2); part >= 1; part = part === 1 ? 0 : Math.ceil(part / 2)) {
    for (let from = 0; from < kept.length && !enough(); ) {
      const without = [...kept.slice(0, from), ...kept.slice(from + part)];
      if (without.length > 0 && (await reproduces(without))) kept = without;
      else from += part;
    }
  }
  return kept;
}
