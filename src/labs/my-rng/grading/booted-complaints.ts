import type { KernelReport } from '../../../console/kernel-report.js';
import { isStall } from '../../../console/kernel-trouble.js';
import type { CheckTarget } from '../../../lab/check.js';
import { complaintsBeforeCrash, distinct } from '../../../lab/kernel-complaints.js';
import type { BootedFindings } from './booted-setup.js';

/** Pure; each trouble once. What a slow host or our own probing brings about is not the driver's fault. */
export function sortReports(reports: readonly KernelReport[]): {
  charged: KernelReport[];
  noted: KernelReport[];
} {
  const once = distinct(reports);
  const noted = once.filter(isOurs);
  return { charged: once.filter((report) => !noted.includes(report)), noted };
}

function isOurs({ kind, lines }: KernelReport): boolean {
  if (isStall(kind) || kind === 'out-of-memory' || kind === 'stack-trace') return true;
  // A bad address that passes access_ok() makes the copy itself warn, on kernels before 6.4 with good drivers too.
  return kind === 'warning' && lines.some((line) => line.includes('General protection fault in user access'));
}

/** What the console says against the driver; needs no guest that answers. */
export function consoleComplaints(
  { machine }: Pick<CheckTarget, 'machine'>,
  { since }: BootedFindings,
): KernelReport[] {
  if (since === undefined) return [];
  return sortReports(complaintsBeforeCrash(machine.console.reports(since.cursor))).charged;
}
