import { crashReport, type KernelReport } from '../../../console/kernel-report.js';
import { LabError } from '../../../errors.js';
import { type CrashReport, describeKernelCrash } from '../../../grade/kernel-crash.js';
import { type Check, type CheckContext, CheckFailure } from '../../../lab/check.js';
import { withComplaint } from '../../../lab/kernel-complaints.js';
import { ProbeCut, type ProbeEvent, runProbeAt } from '../probe.js';
import { consoleComplaints } from './booted-complaints.js';
import type { Bench, BootedCheck, BootedFindings, BootedLine, BootedSetup } from './booted-setup.js';

/** One step with the driver; far more than it takes, far less than a person would wait. */
const STEP = 8_000;
/** Does the guest still do anything at all? */
const SIGN_OF_LIFE = 4_000;
/** From the end of a process to the end of the report that tells why. */
const REPORT = 1_500;
/** Two steps that hang, and the questions afterwards. */
const DEADLINE = 30_000;

export interface BootedSpec {
  readonly id: string;
  readonly title: string;
  readonly line: BootedLine;
  /** Default true. */
  readonly charged?: boolean;
  readonly needs?: readonly string[];
  readonly skip?: string | undefined;
  /** False for a check that does not talk to the driver. Default true. */
  readonly talks?: boolean;
  readonly postMortem?: Check['postMortem'];
  readonly run: (bench: Bench) => Promise<void>;
}

/**
 * A check whose failures say what the kernel did: an oops and a guest that hangs are `crashed`, a driver that alone
 * hangs is `timed-out`, and later checks do not wait for such a driver again.
 */
export function bootedCheck(setup: BootedSetup, findings: BootedFindings, spec: BootedSpec): BootedCheck {
  const { id, title, line, charged = true, needs, skip, talks = true, postMortem } = spec;
  return {
    id,
    title,
    line,
    charged,
    deadline: DEADLINE,
    ...(needs === undefined ? {} : { needs }),
    ...(skip === undefined ? {} : { skip: () => skip }),
    ...(postMortem === undefined ? {} : { postMortem }),
    run: async (context) => {
      if (talks && findings.stuck !== undefined) throw stillStuck(findings.stuck);
      const cursor = context.machine.console.cursor;
      try {
        await spec.run({ setup, findings, context });
      } catch (error) {
        throw await explain(error, { context, findings, cursor, title });
      }
    },
  };
}

/** Runs the probe on the grader's own node. */
export async function probe(bench: Bench, ...args: (string | number)[]): Promise<ProbeEvent[]> {
  const { setup, findings, context } = bench;
  const { node } = findings;
  if (node === undefined) throw new CheckFailure('there is no node of the driver');
  return await runProbeAt({ program: setup.probe, node }, context, args, STEP * context.timeouts.scale);
}

/** Runs a shell script in the guest that touches the driver; its exit code is data. */
export async function script({ context }: Bench, text: string, timeout = STEP) {
  const { guest, signal, timeouts } = context;
  return await guest.exec(text, { signal, timeout: timeout * timeouts.scale, blame: 'submission' });
}

interface Scene {
  readonly context: CheckContext;
  readonly findings: BootedFindings;
  readonly cursor: number;
  readonly title: string;
}

/** The error in the words of what the kernel reported meanwhile, if it reported anything. */
async function explain(error: unknown, scene: Scene): Promise<unknown> {
  if (error instanceof LabError && error.code === 'guest/timeout') return await explainHang(error, scene);
  if (!(error instanceof CheckFailure)) return error;
  if (error instanceof ProbeCut) await reportPrinted(scene);
  const report = fatalReport(scene);
  return report === undefined ? error : crash(report, error, scene);
}

/** The console comes through a file, so that a process's end may be known before the reason for it. */
async function reportPrinted({ context, cursor }: Scene): Promise<void> {
  const { machine, signal, timeouts } = context;
  const options = { name: 'a report', from: cursor, signal, timeout: REPORT * timeouts.scale, fatal: [] };
  await machine.console.waitFor(/---\[ end trace/, options).catch(() => {}); // no report is an answer too
}

function fatalReport({ context, cursor }: Scene): KernelReport | undefined {
  return crashReport(context.machine.console.reports(cursor));
}

function crash(report: KernelReport, error: CheckFailure, { findings }: Scene): CheckFailure {
  const { fact, hint, raw } = describeCrash(report, error.evidence);
  const evidence = [...error.evidence.filter((line) => line !== ''), ...report.lines.slice(0, 24)];
  if (raw) findings.rawPointer = { fact, hint, evidence };
  return new CheckFailure(fact, evidence, hint, 'crashed');
}

/** What a kernel report means for whoever wrote the driver. Pure. */
export function describeCrash(
  report: CrashReport,
  lastSteps: readonly string[],
): { fact: string; hint: string; raw: boolean } {
  return describeKernelCrash(report, addressTried(lastSteps));
}

/** The address of the last call that the probe was about to make. */
function addressTried(steps: readonly string[]): bigint | undefined {
  const last = steps.findLast((line) => line.includes('"event":"trying"'));
  const text = last === undefined ? undefined : /"address":"(0x[0-9a-f]+)"/.exec(last)?.[1];
  return text === undefined ? undefined : BigInt(text);
}

async function explainHang(error: LabError, scene: Scene): Promise<unknown> {
  const report = fatalReport(scene);
  if (report !== undefined) return crash(report, new CheckFailure(error.message, error.evidence), scene);
  const steps = [error.message, ...error.evidence];
  const alive = await isAlive(scene.context);
  const [complaint] = consoleComplaints(scene.context, scene.findings);
  const { fact, hint } = describeHang(steps, { alive, complaint });
  const evidence = [...steps, ...(complaint?.lines.slice(0, 24) ?? [])];
  if (!alive) return new CheckFailure(fact, evidence, hint, 'crashed');
  scene.findings.stuck = `it did not come back from a call: ${scene.title}`;
  return new CheckFailure(fact, evidence, hint, 'timed-out');
}

async function isAlive({ guest, timeouts, signal }: CheckContext): Promise<boolean> {
  const timeout = SIGN_OF_LIFE * timeouts.scale;
  return await guest.exec('true', { timeout, signal }).then(
    () => true,
    () => false,
  );
}

/**
 * Why a driver does not come back, from the last steps of the probe; whether anything in the guest still runs; and the
 * first thing that its kernel had said against the driver. Pure.
 */
export function describeHang(
  steps: readonly string[],
  { alive, complaint }: { readonly alive: boolean; readonly complaint?: KernelReport | undefined },
): { fact: string; hint: string } {
  const refused = steps.some((line) => /"event":"(?:tried|command)".*"error":"E/.test(line));
  return withComplaint(!alive ? GUEST_HANGS : refused ? LOCK_HELD : CALL_HANGS, complaint);
}

const GUEST_HANGS = {
  fact: 'the guest hangs: nothing in it runs any more since the driver was called',
  hint: 'look for a loop without an end in the driver, or one that waits for something that never happens',
};

const LOCK_HELD = {
  fact: 'the driver does not come back from an ioctl after an earlier one had failed: a lock is left held',
  hint: 'every way out of the function has to unlock: release the lock before `return -EFAULT` and the like too',
};

const CALL_HANGS = {
  fact: 'the driver does not come back from an ioctl',
  hint: 'look for a loop without an end, a lock that is taken twice, or a wait for something that never happens',
};

function stillStuck(why: string): CheckFailure {
  return new CheckFailure('the driver does not answer any more', [why], undefined, 'timed-out');
}
