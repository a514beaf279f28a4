import type { CheckContext, CheckTarget } from './check.js';
import { runLogged } from './run-logged.js';

/** A kernel that answers at all does so within this many milliseconds. */
const PATIENCE = 5_000;
const LONGEST = 60;

/**
 * What the guest's kernel says of the tasks that wait and cannot be interrupted, and of the time they had: evidence for
 * whoever wants to know why something did not end. Empty when the guest does not answer, or none waits.
 */
export async function blockedTasks(target: CheckTarget): Promise<string[]> {
  const context: CheckContext = {
    ...target,
    ...{ signal: AbortSignal.timeout(PATIENCE), prove: () => {}, note: () => {} },
  };
  try {
    const { log } = await runLogged(context, 'echo w >/proc/sysrq-trigger', PATIENCE);
    return log.filter((line) => !line.startsWith('sysrq: ')).slice(0, LONGEST);
  } catch {
    return [];
  }
}
