import { LabError } from '../errors.js';
import type { Timeouts } from '../timeouts.js';
import { isConfined } from './confinement.js';
import { buildLimits, makeControlGroup } from './limits.js';
import { runJailed } from './run.js';
import { systemCallFilter } from './seccomp.js';
import { isHostRoot } from './who.js';

/** What a jail of this host is like, for a person who sets it up. */
export interface SandboxFindings {
  /** What is weaker than it could be, in sentences; nothing of it endangers the host. */
  readonly weaknesses: readonly string[];
}

/**
 * Makes sure that this host can confine code: starts a jail and looks around in it. Where nothing is confined on
 * purpose, there is nothing to look for.
 *
 * @throws LabError `sandbox/unavailable` with what the host said.
 */
export async function requireSandbox(options: {
  readonly signal: AbortSignal;
  readonly timeouts: Timeouts;
}): Promise<SandboxFindings> {
  const { signal, timeouts } = options;
  if (!isConfined()) return { weaknesses: ['nothing is confined'] };
  const jail = { overlay: { lower: '/usr/share/misc', at: '/tree' }, limits: buildLimits };
  try {
    const look = ['/bin/sh', '-c', LOOK, 'look', systemCallFilter() ? '2' : '0'] as const;
    const { stdout } = await runJailed(jail, [...look], { signal, timeout: timeouts.hostTool });
    const lines = stdout.split('\n').filter((line) => line !== '');
    if (lines.at(-1) !== LOOKED) throw unavailable(['the look around in the jail did not come to its end']);
    if (lines.length > 1) throw unavailable(lines.slice(0, -1));
  } catch (error) {
    if (
      error instanceof LabError &&
      /^(run\/(failed|missing|timeout|output)|sandbox\/setup)$/.test(error.code)
    ) {
      throw unavailable(error.evidence);
    }
    throw error;
  }
  return { weaknesses: await weaknesses() };
}

async function weaknesses(): Promise<string[]> {
  const group = isHostRoot() ? await makeControlGroup(buildLimits) : undefined;
  await group?.remove();
  return [
    ...(group === undefined
      ? ['memory is limited for each process, not for all together: no control group can be made']
      : []),
    ...(systemCallFilter() === undefined ? ['system calls are filtered on x86-64 only'] : []),
  ];
}

const LOOKED = 'looked around';

/** Prints a line for each wall that does not stand. `$1` is the wanted seccomp mode. */
const LOOK = [
  'own() { sed -n "s/^$1:[[:space:]]*//p" /proc/self/status; }',
  '[ "$(ls /proc | grep -c "^[0-9]")" -le 8 ] || echo "processes of the host can be seen"',
  '[ "$(cat /proc/1/comm)" = bwrap ] || echo "the process namespace is not its own"',
  'for set in CapInh CapPrm CapEff CapBnd CapAmb; do',
  '  [ "$(own $set)" = 0000000000000000 ] || echo "capabilities are left ($set)"',
  'done',
  '[ "$(own NoNewPrivs)" = 1 ] || echo "privileges can be gained"',
  '[ "$(own Seccomp)" = "$1" ] || echo "system calls are not filtered"',
  '[ "$(id -u)" = 1000 ] || echo "the user id is not its own"',
  '[ "$(grep -c : /proc/net/dev)" -le 1 ] || echo "there is a network"',
  'unshare --user true 2>/dev/null && echo "further user namespaces can be made"',
  'for dir in /proc/sys /usr / /etc /dev; do',
  '  ( : > "$dir/lab-probe" ) 2>/dev/null && echo "$dir can be written"',
  'done',
  '( : > /proc/sys/kernel/core_pattern ) 2>/dev/null && echo "settings of the kernel can be changed"',
  'for dir in /root /home /sys /run /var /mnt /boot /etc/passwd /etc/shadow; do',
  '  [ ! -e "$dir" ] || echo "$dir can be seen"',
  'done',
  '[ "$(tr "\\0" "\\n" < /proc/1/environ | grep -cvE "^(PATH|SHLVL|PWD|_)=")" = 0 ] || echo "our environment can be read"',
  // the shell's own look into the folder is one of them
  'set -- /proc/$$/fd/*; [ $# -le 4 ] || echo "descriptors were inherited"',
  '[ -z "$(tty 2>/dev/null | grep ^/)" ] || echo "there is a terminal"',
  '[ "$(ulimit -n)" -le 1024 ] && [ "$(ulimit -f)" != unlimited ] || echo "there are no limits"',
  '( echo kept > /tree/probe ) 2>/dev/null || echo "the overlay cannot be written"',
  `echo "${LOOKED}"`,
].join('\n');

function unavailable(evidence: readonly string[]): LabError {
  return new LabError({
    code: 'sandbox/unavailable',
    blame: 'host',
    fact: 'this host cannot confine the code of submissions, so nothing of them is built or run',
    evidence,
    next: 'install bubblewrap 0.8 or newer and allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0, user.max_user_namespaces)',
  });
}
