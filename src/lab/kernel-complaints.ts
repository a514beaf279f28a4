import { crashReport, type KernelReport } from '../console/kernel-report.js';
import { isStall } from '../console/kernel-trouble.js';
import { CheckFailure } from './check.js';

const HINTS: Readonly<Partial<Record<KernelReport['kind'], string>>> = {
  'atomic-sleep':
    'copy_to_user(), mutex_lock(), msleep() and kmalloc(GFP_KERNEL) may sleep, which nothing may that holds a spin ' +
    'lock or runs in an interrupt: do it after spin_unlock(), or hold a mutex instead',
  lockdep:
    'release every lock before the call returns to user space, and take two locks always in the same order',
  usercopy: 'copy from or to a variable that is large enough for the size given',
  kasan: 'the access named above leaves the memory it belongs to',
  spinlock: 'initialise the lock (spin_lock_init, DEFINE_SPINLOCK) and release it once',
};

/** What to do about such a report. Pure. */
export function complaintHint({ kind }: KernelReport): string {
  return HINTS[kind] ?? 'the call trace names the function; look there';
}

/** The words about a hang, which a complaint before it explains better than a guess. Pure. */
export function withComplaint(
  { fact, hint }: { readonly fact: string; readonly hint: string },
  complaint: KernelReport | undefined,
): { fact: string; hint: string } {
  if (complaint === undefined) return { fact, hint };
  return {
    fact: `${fact}; before that the kernel had complained: ${complaint.title}`,
    hint: complaintHint(complaint),
  };
}

/** The same trouble again, or seen in dmesg as well as on the console, says nothing new. Pure. */
export function distinct(reports: readonly KernelReport[]): KernelReport[] {
  return [
    ...new Map(reports.toReversed().map((report) => [report.fingerprint, report])).values(),
  ].toReversed();
}

/** Undefined when there is nothing to complain about. Pure. */
export function complaintFailure(
  reports: readonly KernelReport[],
  about = 'the kernel complains',
): CheckFailure | undefined {
  const [first, ...others] = distinct(reports);
  if (first === undefined) return undefined;
  const shown = [first, ...others].flatMap(({ kind, title, lines }) => [
    `${kind}: ${title}`,
    ...lines.slice(0, 16),
  ]);
  const more = others.length === 0 ? '' : ` (and ${others.length} more)`;
  return new CheckFailure(`${about}: ${first.title}${more}`, shown, complaintHint(first));
}

/**
 * What a kernel said before it crashed: what comes after that follows from it. Without stalls, of which a machine that
 * hangs prints some, and one on a busy host too. Pure.
 */
export function complaintsBeforeCrash(reports: readonly KernelReport[]): KernelReport[] {
  const crash = crashReport(reports);
  const before = crash === undefined ? reports : reports.slice(0, reports.indexOf(crash));
  return before.filter(({ kind }) => !isStall(kind));
}
