import { findTrouble } from '../../../console/kernel-log.js';
import { type Check, type CheckContext, CheckFailure } from '../../../lab/check.js';

/** What the kernel thought of all that: errors of disks are expected, trouble of its own is not. */
export const kernelLogCheck: Check = {
  id: 'kernel-log',
  title: 'the kernel log has no BUG, WARNING, oops or lockup after all that',
  deadline: 10_000,
  run: clean,
};

async function clean({ guest, machine, signal, prove }: CheckContext): Promise<void> {
  const { stdout } = await guest.exec(['dmesg'], { signal, check: true });
  const lines = stdout.trimEnd().split('\n');
  if (stdout.trim() === '') throw new CheckFailure('the kernel log is empty, which proves nothing');
  const reports = findTrouble([...lines, ...machine.console.lines(0)]);
  if (reports.length > 0) {
    const shown = reports.flatMap((report) => [
      `${report.kind}: ${report.title}`,
      ...report.lines.slice(0, 12),
    ]);
    throw new CheckFailure(`the kernel complained ${reports.length} times`, shown);
  }
  prove(`${lines.length} lines read, the last: ${lines.at(-1)}`);
}
