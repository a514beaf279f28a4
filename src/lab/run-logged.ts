import { randomBytes } from 'node:crypto';
import { parseKernelLine } from '../console/kernel-line.js';
import { type CheckContext, CheckFailure } from './check.js';

/** What a script in the guest printed, and what the kernel logged meanwhile, without time stamps. */
export interface Logged {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly log: readonly string[];
}

/**
 * Runs a script in the guest and tells what the kernel logged from its begin to its end.
 *
 * @param timeout milliseconds
 */
export async function runLogged(
  { guest, signal, timeouts }: CheckContext,
  script: string,
  timeout = timeouts.guestCommand,
): Promise<Logged> {
  const mark = `lab-${randomBytes(8).toString('hex')}`;
  const whole = `echo ${mark} >/dev/kmsg\n(\n${script}\n)\ncode=$?\necho\necho ${mark}\ndmesg\nexit $code`;
  const { exitCode, stdout, stderr } = await guest.exec(whole, { signal, timeout, blame: 'submission' });
  const lines = stdout.split('\n');
  const end = lines.indexOf(mark);
  const log = lines.slice(end + 1).map((line) => parseKernelLine(line).text);
  return {
    exitCode,
    // The empty line before the mark ends a last line that the script left open.
    stdout: lines.slice(0, end).join('\n'),
    stderr,
    log: log.slice(log.lastIndexOf(mark) + 1).filter(Boolean),
  };
}

/**
 * Runs a script that has to succeed, each of its commands.
 *
 * @param timeout milliseconds
 * @throws CheckFailure with what it said and what the kernel logged.
 */
export async function mustRun(context: CheckContext, script: string, timeout?: number): Promise<Logged> {
  const result = await runLogged(context, `set -e\n${script}`, timeout);
  if (result.exitCode === 0) return result;
  const said = `${result.stdout}${result.stderr}`.trimEnd().split('\n').slice(-10);
  throw new CheckFailure(`a command in the guest failed with exit code ${result.exitCode}`, [
    ...said,
    ...result.log.slice(-15),
  ]);
}
