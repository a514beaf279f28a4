import { LabError } from '../errors.js';
import type { Timeouts } from '../timeouts.js';
import { buildLimits } from './limits.js';
import { runJailed } from './run.js';

/**
 * Makes sure that this host can confine code: starts a jail and looks around in it.
 *
 * @throws LabError `sandbox/unavailable` with what the host said.
 */
export async function requireSandbox(options: {
  readonly signal: AbortSignal;
  readonly timeouts: Timeouts;
}): Promise<void> {
  const { signal, timeouts } = options;
  const jail = { overlay: { lower: '/usr/share/misc', at: '/tree' }, limits: buildLimits };
  try {
    const { stdout } = await runJailed(jail, ['/bin/sh', '-c', LOOK], { signal, timeout: timeouts.hostTool });
    const wrong = stdout.split('\n').filter((line) => line !== '');
    if (wrong.length > 0) throw unavailable(wrong);
  } catch (error) {
    if (error instanceof LabError && /^run\/(failed|missing|timeout)$/.test(error.code)) {
      throw unavailable(error.evidence);
    }
    throw error;
  }
}

/** Prints a line for each wall that does not stand. */
const LOOK = [
  '[ "$(ls /proc | grep -c "^[0-9]")" -le 6 ] || echo "processes of the host can be seen"',
  'grep -q "^CapEff:.0000000000000000" /proc/self/status || echo "capabilities are left"',
  '[ "$(grep -c : /proc/net/dev)" -le 1 ] || echo "there is a network"',
  '( : > /proc/sys/kernel/core_pattern ) 2>/dev/null && echo "settings of the kernel can be changed"',
  '( : > /usr/lab-probe ) 2>/dev/null && echo "/usr can be written"',
  'for dir in /root /home; do [ ! -e "$dir" ] || echo "$dir can be seen"; done',
  'echo kept > /tree/probe || echo "the overlay cannot be written"',
].join('\n');

function unavailable(evidence: readonly string[]): LabError {
  return new LabError({
    code: 'sandbox/unavailable',
    blame: 'host',
    fact: 'this host cannot confine the code of submissions, so nothing of them is built or run',
    evidence,
    next: 'install bubblewrap, allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces), and see `lab doctor`',
  });
}
