import type { KernelReport } from '../../../console/kernel-report.js';
import { fatalReport } from '../../../grade/kernel-crash.js';
import { CheckFailure, type CheckTarget } from '../../../lab/check.js';
import type { BootedFindings } from './booted-setup.js';

const HINTS: Readonly<Partial<Record<KernelReport['kind'], string>>> = {
  'atomic-sleep':
    'copy_to_user(), msleep() and kmalloc(GFP_KERNEL) may sleep, which nothing may that holds a spin lock: ' +
    'do it after spin_unlock(), or use a mutex',
  lockdep:
    'release every lock before the call returns to user space, and take two locks always in the same order',
  usercopy: 'copy from or to a variable that is large enough for the size given',
  kasan: 'the access named above leaves the memory it belongs to',
  spinlock: 'initialise the lock (spin_lock_init, DEFINE_SPINLOCK) and release it once',
};

/** Pure; what to do about such a report. */
export function complaintHint({ kind }: KernelReport): string {
  return HINTS[kind] ?? 'the call trace names the function; look there';
}

/** Pure; each trouble once. What a slow host or our own probing brings about is not the driver's fault. */
export function sortReports(reports: readonly KernelReport[]): {
  charged: KernelReport[];
  noted: KernelReport[];
} {
  const once = new Map(reports.map((report) => [report.fingerprint, report]));
  const noted = [...once.values()].filter(isOurs);
  return { charged: [...once.values()].filter((report) => !noted.includes(report)), noted };
}

function isOurs({ kind, lines }: KernelReport): boolean {
  if (/lockup|stall|hung|out-of-memory|stack-trace/.test(kind)) return true;
  // A bad address that passes access_ok() makes the copy itself warn, on kernels before 6.4 with good drivers too.
  return kind === 'warning' && lines.some((line) => line.includes('General protection fault in user access'));
}

/** Pure; undefined when nothing is charged. */
export function complaintFailure(charged: readonly KernelReport[]): CheckFailure | undefined {
  const [first] = charged;
  if (first === undefined) return undefined;
  const shown = charged.flatMap((report) => [
    `${report.kind}: ${report.title}`,
    ...report.lines.slice(0, 16),
  ]);
  const fact = `the kernel complains about the driver: ${first.title}`;
  return new CheckFailure(fact, shown, complaintHint(first));
}

/**
 * What the console says against the driver, up to a crash of the kernel: what comes after that follows from it. Needs
 * no guest that answers.
 */
export function consoleComplaints(
  { machine }: Pick<CheckTarget, 'machine'>,
  { since }: BootedFindings,
): KernelReport[] {
  if (since === undefined) return [];
  const reports = machine.console.reports(since.cursor);
  const crash = fatalReport(reports);
  return sortReports(crash === undefined ? reports : reports.slice(0, reports.indexOf(crash))).charged;
}
