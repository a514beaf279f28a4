import { findTrouble } from '../../../console/kernel-log.js';
import { type CheckContext, CheckFailure } from '../../../lab/check.js';
import type { LineCheck } from '../../../lab/module-checks.js';

/** What the kernel thought of the checks before, on the machine of this line. */
export function kernelLogCheck(line: string): LineCheck {
  return {
    id: `${line}-kernel-log`,
    line,
    machine: line,
    title: `the kernel log has no BUG, WARNING, oops or lockup after the checks of ${line}`,
    deadline: 10_000,
    run: clean,
  };
}

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
