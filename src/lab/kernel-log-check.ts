import { findTrouble } from '../console/kernel-log.js';
import { type CheckContext, CheckFailure } from './check.js';
import { complaintFailure, complaintsBeforeCrash } from './kernel-complaints.js';
import type { LineCheck } from './module-checks.js';

/** What the kernel thought of the checks before it that run on the same machine when a hand-in is graded. */
export function kernelLogCheck(line: string, machine: string): LineCheck {
  return {
    id: `${machine.replaceAll('_', '-')}-kernel-log`,
    title: `the kernel log has no BUG, WARNING, oops or lockup after the checks of ${machine}`,
    line,
    machine,
    deadline: 10_000,
    run: clean,
    postMortem: ({ machine: { console } }) => complaintFailure(complaintsBeforeCrash(console.reports())),
  };
}

async function clean({ guest, machine, signal, prove, note }: CheckContext): Promise<void> {
  const { stdout } = await guest.exec(['dmesg'], { signal, check: true });
  const lines = stdout.trimEnd().split('\n');
  if (stdout.trim() === '') throw new CheckFailure('the kernel log is empty, which proves nothing');
  const all = findTrouble([...lines, ...machine.console.lines(0)]);
  // the clock of a guest jumps when its host is busy, and the kernel takes that for a stall; a real one has deadlines
  const reports = all.filter(({ kind }) => kind !== 'rcu-stall');
  for (const { title } of all.filter(({ kind }) => kind === 'rcu-stall')) note(`left aside: ${title}`);
  const failure = complaintFailure(reports);
  if (failure !== undefined) throw failure;
  prove(`${lines.length} lines read, the last: ${lines.at(-1)}`);
}
