import { type CheckContext, CheckFailure } from './check.js';
import { mustRun } from './run-logged.js';

/**
 * Shell words that print two lines: KiB of memory that the kernel uses for itself, and KiB of slab, which are among them.
 * Programs and files are not: they come and go by megabytes. MemFree lacks the free pages that a CPU keeps for itself,
 * among them most of what was allocated in single pages. And wherever a module's code comes to lie for the first time,
 * the kernel maps 2 MiB of memory page by page from then on, which costs it a page for good and is nobody's leak.
 */
export const SHOW_MEMORY = [
  'sync; echo 3 >/proc/sys/vm/drop_caches; echo 3 >/proc/sys/vm/drop_caches;',
  "awk '/^ +count:/ { kernel -= 4 * $2 } /^MemTotal:/ { kernel += $2 } /^Slab:/ { slab = $2 }",
  '/^(MemFree|AnonPages|Cached|Buffers|PageTables|KernelStack):/ { kernel -= $2 } /^DirectMap4k:/ { kernel -= $2 / 512 }',
  "END { print int(kernel); print slab }' /proc/zoneinfo /proc/meminfo",
].join(' ');

/** KiB of the kernel's memory that rounds may cost, however many: what is counted varies by up to 80. */
const MEMORY = 200;
/** KiB of slab that they may cost: a lost structure of the block layer has more than 1 a round. */
const SLAB = 20;
/** The rest of the guest has the kernel take memory as well; what is never given back is missing each time. */
const MEASURED = 4;

export interface Rounds {
  /** What the script does, for proof and failure. */
  readonly what: string;
  /** Commands that are not measured: the first load of all also costs what the kernel keeps for good. */
  readonly before: string;
  /** Takes memory and gives it back. */
  readonly script: string;
  /** Milliseconds. */
  readonly timeout?: number;
}

/**
 * Runs a script up to four times, until it costs the kernel nothing.
 *
 * @throws CheckFailure when it costs something each time.
 */
export async function expectMemoryBack(context: CheckContext, rounds: Rounds): Promise<void> {
  const { what, before, script, timeout } = rounds;
  const seen = [await measure(context, before, script, timeout)];
  while (seen.length < MEASURED && !isSmall(seen.at(-1) as Measured))
    seen.push(await measure(context, '', script, timeout));
  const least = seen.reduce((a, b) => (isSmall(b) || b.memory < a.memory ? b : a));
  const { memory, slab } = least;
  const shown = `${what}, the best of ${seen.length}, cost ${memory} KiB of the kernel's memory (${MEMORY} allowed), ${slab} KiB of slab (${SLAB} allowed)`;
  if (isSmall(least)) return context.prove(shown);
  const hint = 'free everything in the exit function';
  throw new CheckFailure('unloading does not give all memory back', [shown], hint);
}

interface Measured {
  /** KiB that the kernel uses more. */
  readonly memory: number;
  readonly slab: number;
}

function isSmall({ memory, slab }: Measured): boolean {
  return memory <= MEMORY && slab <= SLAB;
}

async function measure(
  context: CheckContext,
  before: string,
  script: string,
  timeout?: number,
): Promise<Measured> {
  const whole = [before, SHOW_MEMORY, script, SHOW_MEMORY].join('\n');
  const { stdout } = await mustRun(context, whole, timeout);
  const [kernel = 0, slab = 0, kernelAfter = 0, slabAfter = 0] = stdout.trim().split('\n').map(Number);
  context.note(`the kernel's memory ${kernel} → ${kernelAfter} KiB, slab ${slab} → ${slabAfter} KiB`);
  return { memory: kernelAfter - kernel, slab: slabAfter - slab };
}
