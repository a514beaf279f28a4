import { LabError } from '../../../errors.js';
import { quoteForShell as q } from '../../../guest/command.js';
import type { CheckTarget } from '../../../lab/check.js';
import { DEVICE_NAME } from './booted-devices.js';
import { describeRounds, readRounds } from './booted-rounds.js';
import type { BootedSetup } from './booted-setup.js';

/** Seconds that an application may run, and the CPU seconds among them. */
const LIMIT = 10;
/** Bytes of its output that are kept. */
const KEPT = 64 * 1024;
const SEED = 0;

export interface ApplicationRun {
  readonly user: 'root' | 'nobody';
  /** Absent when it was ended. */
  readonly exitCode?: number;
  /** Its output, standard error included: hostile text, the last 64 KiB. */
  readonly output: string;
  /** What it shows, in sentences. */
  readonly evidence: readonly string[];
}

/**
 * Runs the student's application in the guest, last of all, for evidence only: as nobody when the node allows that,
 * with limits on time, memory, processes and files. What it does cannot make a check fail.
 *
 * @param program path in the guest of its static executable
 */
export async function runApplication(
  target: Pick<CheckTarget, 'guest' | 'timeouts'>,
  setup: Pick<BootedSetup, 'oracle'>,
  program: string,
  signal: AbortSignal,
): Promise<ApplicationRun> {
  const { guest, timeouts } = target;
  const limit = Math.ceil(LIMIT * timeouts.scale);
  const options = { signal, timeout: (limit + LIMIT) * 1000, maxOutput: KEPT };
  try {
    const ended = await guest.exec(confined(program, limit), options);
    const { exitCode, stdout, dropped } = ended;
    const user = stdout.startsWith('nobody\n') ? 'nobody' : 'root';
    const output = stdout.replace(/^(?:nobody|root)\n/, '');
    const numbers = await setup.oracle.numbers(SEED, 5);
    const evidence = [
      `the application ran as ${user} and ended with ${describeExit(exitCode, limit)}`,
      `application: ${describeRounds(readRounds(output.split('\n')), numbers)}`,
      ...(dropped > 0 ? [`it printed ${dropped} bytes more than are kept`] : []),
    ];
    return { user, exitCode, output, evidence };
  } catch (error) {
    if (!(error instanceof LabError) || error.blame === 'user') throw error;
    const evidence = [`the application did not come to an end: ${error.message}`];
    return { user: 'root', output: error.evidence.join('\n'), evidence };
  }
}

function describeExit(code: number, limit: number): string {
  if (code === 137) return `SIGKILL: it ran for more than ${limit} s, or used more than it may`;
  return `exit code ${code}`;
}

/** The program is copied to where everyone may execute it; the first line tells who runs it. */
function confined(program: string, limit: number): string {
  const limits = `ulimit -t ${limit} -v 262144 -f 2048 -u 64 -c 0`;
  const run = `${limits}; cd /; exec timeout -s KILL ${limit} "$0" </dev/null 2>&1`;
  return [
    `dir=$(mktemp -d) && chmod 755 "$dir" && cp ${q(program)} "$dir/application" || exit 1`,
    'chmod 755 "$dir/application"',
    `if [ "$(stat -Lc %A /dev/${DEVICE_NAME} | cut -c 8-9)" = rw ]; then user=nobody; else user=root; fi`,
    'echo $user',
    `exec env -i PATH=/usr/bin:/bin HOME=/ su -s /bin/sh $user -c ${q(run)} "$dir/application"`,
  ].join('\n');
}
