import { findTrouble } from '../../../console/kernel-log.js';
import { CheckFailure } from '../../../lab/check.js';
import { complaintFailure } from '../../../lab/kernel-complaints.js';
import { messages } from '../checks/common.js';
import { consoleComplaints, sortReports } from './booted-complaints.js';
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
      postMortem: (target) => complaintFailure(consoleComplaints(target, findings), ABOUT),
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

const ABOUT = 'the kernel complains about the driver';

async function kernelLog(bench: Bench): Promise<void> {
  const { context, findings } = bench;
  const { cursor = 0, seconds = 0 } = findings.since ?? {};
  const { stdout } = await script(bench, 'dmesg');
  const lines = linesSince(stdout.split('\n'), seconds);
  const reports = [...context.machine.console.reports(cursor), ...findTrouble(lines)];
  const { charged, noted } = sortReports(reports);
  for (const { kind, title } of noted) context.note(`noted, not charged: ${kind}: ${title}`);
  const failure = complaintFailure(charged, ABOUT);
  if (failure !== undefined) throw failure;
  if (stdout.trim() === '') throw new CheckFailure('the kernel log is empty, which proves nothing');
  context.prove(`no report among ${lines.length} lines of dmesg and the console`);
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
