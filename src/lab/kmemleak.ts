import { type CheckContext, CheckFailure, type CheckTarget } from './check.js';

const FILE = '/sys/kernel/debug/kmemleak';

/** The machine profile whose kernel has the detector. */
const PROFILE = 'kasan';

/** Why a check for leaked memory does not apply to a run. */
export function noKmemleak({ profile }: CheckTarget): string | undefined {
  return profile === PROFILE ? undefined : `only the kernel of the profile ${PROFILE} has kmemleak`;
}

/** Why a check that compares amounts of memory does not apply to a run. */
export function noExactMemory({ profile }: CheckTarget): string | undefined {
  if (profile !== PROFILE) return undefined;
  return `the kernel of the profile ${PROFILE} keeps freed memory for a while, and notes on all that is allocated`;
}

/**
 * Runs a script in the guest and fails when kmemleak finds memory that the script lost: allocated, and no pointer to
 * it left anywhere. What was suspected before is forgotten. The detector trusts nothing younger than 5 s.
 *
 * @param timeout milliseconds for script and search
 * @throws CheckFailure with the detector's reports, or when the script fails or the kernel has no detector.
 */
export async function expectNoLeaks(context: CheckContext, script: string, timeout: number): Promise<void> {
  const { guest, signal, prove } = context;
  const whole = [
    `[ -d /sys/kernel/debug/tracing ] || [ -e ${FILE} ] || mount -t debugfs none /sys/kernel/debug || exit 1`,
    `echo scan >${FILE} && echo clear >${FILE} || exit 1`,
    `(\n${script}\n) || exit 2`,
    // What a first search finds may have been moved between registers while it ran; a second one confirms it.
    `sleep 6; echo scan >${FILE}; echo scan >${FILE}; cat ${FILE}`,
  ].join('\n');
  const { exitCode, stdout, stderr } = await guest.exec(whole, { signal, timeout, blame: 'submission' });
  const said = `${stdout}${stderr}`.trimEnd().split('\n');
  if (exitCode === 1) throw new CheckFailure("the kernel's leak detector cannot be used", said);
  if (exitCode !== 0) throw new CheckFailure('what was to be searched for leaks failed', said);
  const reports = stdout.match(/^unreferenced object .*/gm) ?? [];
  if (reports.length > 0) {
    const hint = 'the backtrace names the function that allocated it: free it on every way out';
    throw new CheckFailure(`kmemleak found ${reports.length} lost pieces of memory`, said.slice(0, 60), hint);
  }
  prove('kmemleak searched twice and found nothing lost');
}
