import { crashReport, type KernelReport } from '../console/kernel-report.js';
import { inTime } from '../deadline.js';
import { LabError } from '../errors.js';
import { type CheckContext, CheckFailure } from '../lab/check.js';
import { complaintsBeforeCrash, withComplaint } from '../lab/kernel-complaints.js';
import type { LineCheck } from '../lab/module-checks.js';
import { explainInsmod } from './explain-insmod.js';
import { describeKernelCrash } from './kernel-crash.js';

/** What the checks of one machine find out on their way; empty before they ran. */
export interface ModuleFindings {
  /** A module touched the user's pointer directly and SMAP ended it. */
  rawPointer?: { readonly fact: string; readonly hint: string; readonly evidence: readonly string[] };
  /** Checks that did not come to an end. */
  late: number;
}

/** Does the guest still do anything at all? */
const SIGN_OF_LIFE = 4_000;
/** From the end of a process to the end of the report that tells why. */
const REPORT = 1_500;
/** From a crash to the end of the check that met it. */
const AFTER_CRASH = 1_000;
/** After so many checks that hang the others are not begun. */
const MOST_LATE = 2;

/**
 * A check whose failures say what the kernel did: an oops and a guest that hangs are `crashed`, even when the check
 * itself saw nothing wrong; a module that was not loaded is explained from what insmod and the kernel said.
 */
export function guardedCheck(check: LineCheck, findings: ModuleFindings): LineCheck {
  const own = check.deadline;
  return {
    ...check,
    deadline: own + 2 * SIGN_OF_LIFE,
    run: async (context) => {
      if (findings.late >= MOST_LATE)
        throw new CheckFailure('the module does not answer any more', [], undefined, 'timed-out');
      const scene = { context, findings, cursor: context.machine.console.cursor };
      try {
        await endsInTime(check.run(context), own * context.timeouts.scale, scene);
      } catch (error) {
        throw await explain(error, scene);
      }
      const report = fatal(scene);
      if (report !== undefined) throw crash(report, [], scene);
    },
  };
}

interface Scene {
  readonly context: CheckContext;
  readonly findings: ModuleFindings;
  readonly cursor: number;
}

class Late extends Error {
  constructor(readonly limit: number) {
    super(`it did not end within ${(limit / 1000).toFixed(0)} s`);
  }
}

/** Ends as well soon after a crash: what the kernel killed may hold what the check waits for. */
async function endsInTime(work: Promise<void>, limit: number, scene: Scene): Promise<void> {
  const over = new AbortController();
  const signal = AbortSignal.any([over.signal, scene.context.signal]);
  try {
    await inTime(Promise.race([work, crashed(scene, limit, signal)]), limit, () => {
      throw new Late(limit);
    });
  } finally {
    over.abort();
  }
}

async function crashed({ context, cursor }: Scene, timeout: number, signal: AbortSignal): Promise<void> {
  const { console } = context.machine;
  for (let from = cursor; fatal({ context, cursor }) === undefined; from = console.cursor) {
    const options = { name: 'a crash', from, signal, timeout, fatal: [] };
    const report = await console.waitFor(/---\[ end trace/, options).catch(() => undefined);
    if (report === undefined) return await new Promise(() => {}); // the other events decide
  }
  // a check that sees the crash itself says more about it
  await new Promise((resolve) => {
    setTimeout(resolve, AFTER_CRASH * context.timeouts.scale);
  });
}

/** The error in the words of what the kernel reported meanwhile, if it reported anything. */
async function explain(error: unknown, scene: Scene): Promise<unknown> {
  const hung = error instanceof Late || (error instanceof LabError && error.code === 'guest/timeout');
  if (!hung && !(error instanceof CheckFailure)) return error;
  const evidence = error instanceof Late ? [] : error.evidence;
  if (killed(evidence)) await reportPrinted(scene);
  const report = fatal(scene);
  if (report !== undefined) return crash(report, [error.message, ...evidence], scene);
  return error instanceof CheckFailure
    ? explainFailure(error, scene)
    : await explainHang(error, evidence, scene);
}

/** Words of a shell, and of our checks, for a process that the kernel ended. */
function killed(evidence: readonly string[]): boolean {
  return evidence.some((line) =>
    /Killed|Segmentation fault|signal|SIG[A-Z]{3,4}|exit code 1[34]\d/.test(line),
  );
}

/** The console comes through a file, so that a process's end may be known before the reason for it. */
async function reportPrinted({ context, cursor }: Scene): Promise<void> {
  const { machine, signal, timeouts } = context;
  const options = { name: 'a report', from: cursor, signal, timeout: REPORT * timeouts.scale, fatal: [] };
  await machine.console.waitFor(/---\[ end trace/, options).catch(() => {}); // no report is an answer too
}

function fatal({ context, cursor }: Pick<Scene, 'context' | 'cursor'>): KernelReport | undefined {
  return crashReport(context.machine.console.reports(cursor));
}

/** Below it a pointer is NULL with an offset; above is the kernel. */
const USER = { from: 0x1_0000n, to: 0x8000_0000_0000n };

function crash(report: KernelReport, before: readonly string[], { findings }: Scene): CheckFailure {
  const touched = /(?:for address|dereference, address): ?([0-9a-f]{8,16})/.exec(
    report.lines.join('\n'),
  )?.[1];
  const address = touched === undefined ? undefined : BigInt(`0x${touched}`);
  const ofUser = address !== undefined && address >= USER.from && address < USER.to ? address : undefined;
  const { fact, hint, raw } = describeKernelCrash(report, ofUser);
  const evidence = [...before.filter((line) => line !== ''), ...report.lines.slice(0, 24)];
  if (raw) findings.rawPointer = { fact, hint, evidence };
  return new CheckFailure(fact, evidence, hint, 'crashed');
}

function explainFailure(error: CheckFailure, { context, cursor }: Scene): CheckFailure {
  const said = error.evidence.find((line) => /\b(insmod|modprobe): /.test(line));
  if (said === undefined) return error;
  const log = context.machine.console.lines(cursor).map((line) => line.replace(/^\[ *\d+\.\d+\] /, ''));
  const name = /([\w-]+\.ko)\b/.exec(said)?.[1] ?? 'the module';
  const { fact, hint } = explainInsmod(name, said, log);
  const evidence = [error.message, ...error.evidence, ...log.filter((line) => line.trim() !== '').slice(-10)];
  return new CheckFailure(fact, [...new Set(evidence)], hint, error.outcome);
}

async function explainHang(error: Error, evidence: readonly string[], scene: Scene): Promise<CheckFailure> {
  const { context, findings } = scene;
  const alive = await isAlive(context);
  const { console } = context.machine;
  const [complaint] = complaintsBeforeCrash(console.reports());
  const words = alive ? { fact: error.message, hint: CHECK_HANGS } : GUEST_HANGS;
  const { fact, hint } = withComplaint(words, complaint);
  const said = new Set([...(complaint?.lines.slice(0, 24) ?? []), ...console.lines(scene.cursor).slice(-20)]);
  if (!alive) return new CheckFailure(fact, [error.message, ...evidence, ...said], hint, 'crashed');
  findings.late += 1;
  return new CheckFailure(fact, [...evidence, ...said], hint, 'timed-out');
}

const GUEST_HANGS = {
  fact: 'the guest hangs: nothing in it runs any more',
  hint: 'look for a loop without an end in the module, or a lock that is taken twice',
};

const CHECK_HANGS =
  'look for a wait for something that never happens, and for a lock that one way out leaves held';

async function isAlive({ guest, timeouts, signal }: CheckContext): Promise<boolean> {
  const timeout = SIGN_OF_LIFE * timeouts.scale;
  return await guest.exec('true', { timeout, signal }).then(
    () => true,
    () => false,
  );
}
