import { findTrouble } from '../../../console/kernel-log.js';
import type { KernelReport } from '../../../console/kernel-report.js';
import { CheckFailure } from '../../../lab/check.js';
import { messages } from '../checks/common.js';
import { linesSince } from './booted-find.js';
import { bootedCheck, script } from './booted-guard.js';
import type { Bench, BootedCheck, BootedFindings, BootedSetup } from './booted-setup.js';

/** What the kernel says about all that was done. */
export function logChecks(setup: BootedSetup, findings: BootedFindings): BootedCheck[] {
  return [
    bootedCheck(setup, findings, {
      id: 'driver-kernel-log',
      line: 'driver-safe-transfer',
      title: 'the kernel complains about nothing since the driver is there',
      needs: ['driver-registers'],
      talks: false,
      run: kernelLog,
    }),
  ];
}

/** The line by which the driver says that it is there. */
export function loadLineChecks(setup: BootedSetup, findings: BootedFindings): BootedCheck[] {
  return [
    bootedCheck(setup, findings, {
      id: 'driver-load-line',
      line: 'driver-repeat-seed',
      charged: false,
      title: 'the kernel log has a line that the driver was loaded',
      needs: ['driver-registers'],
      talks: false,
      run: loadLine,
    }),
  ];
}

async function kernelLog(bench: Bench): Promise<void> {
  const { context, findings } = bench;
  const { cursor = 0, seconds = 0 } = findings.since ?? {};
  const { stdout } = await script(bench, 'dmesg');
  const lines = linesSince(stdout.split('\n'), seconds);
  const reports = [...context.machine.console.reports(cursor), ...findTrouble(lines)];
  const { charged, noted } = sortReports(reports);
  for (const { kind, title } of noted) context.note(`noted, not charged: ${kind}: ${title}`);
  const [first] = charged;
  if (first !== undefined) {
    const shown = charged.flatMap((report) => [
      `${report.kind}: ${report.title}`,
      ...report.lines.slice(0, 16),
    ]);
    const fact = `the kernel complains about the driver: ${first.title}`;
    throw new CheckFailure(fact, shown, HINTS[first.kind] ?? 'the call trace names the function; look there');
  }
  if (stdout.trim() === '') throw new CheckFailure('the kernel log is empty, which proves nothing');
  context.prove(`no report among ${lines.length} lines of dmesg and the console`);
}

const HINTS: Readonly<Partial<Record<KernelReport['kind'], string>>> = {
  'atomic-sleep': 'copy_to_user() may sleep: copy after spin_unlock(), or use a mutex',
  lockdep:
    'release every lock before the call returns to user space, and take two locks always in the same order',
  usercopy: 'copy from or to a variable that is large enough for the size given',
  kasan: 'the access named above leaves the memory it belongs to',
  spinlock: 'initialise the lock (spin_lock_init, DEFINE_SPINLOCK) and release it once',
};

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

const LOADED =
  'my_rng_driver loaded, registered ioctls 0x80047101 (get a random number) and 0x40047101 (seed the generator)';

async function loadLine(bench: Bench): Promise<void> {
  const { stdout } = await script(bench, 'dmesg');
  const lines = messages(stdout).filter((line) => /my[-_ ]?rng/i.test(line));
  const line = lines.find((text) => /load|regist|init/i.test(text));
  if (line === undefined) {
    throw new CheckFailure('the kernel log has no line that the driver was loaded', [
      `the exercise has: ${LOADED}`,
      ...lines.slice(0, 5),
    ]);
  }
  if (!line.includes(LOADED)) bench.context.note(`the exercise has: ${LOADED}`);
  bench.context.prove(line);
}
