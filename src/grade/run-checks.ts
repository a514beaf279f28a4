import { Deadline } from '../deadline.js';
import { type Blame, isAbort, LabError } from '../errors.js';
import { killedForMemory } from '../host/memory.js';
import { blockedTasks } from '../lab/blocked-tasks.js';
import { type Check, CheckFailure, type CheckTarget, type Outcome, type Verdict } from '../lab/check.js';
import type { QemuExit } from '../machine/machine.js';
import { sanitizerError } from '../machine/sanitizers.js';

export interface RunChecksOptions {
  readonly signal: AbortSignal;
  /** Called before each check. */
  readonly onStart?: (check: Check) => void;
  /** Called after each check. */
  readonly onVerdict?: (verdict: Verdict) => void;
}

/**
 * Runs checks one after another on a live machine and gives each a verdict; never throws for what a check does.
 *
 * A check passes only if it returned and had shown proof. When the machine dies, or a check says that it is of no
 * further use, the check that ran is `crashed` and all later ones are `blocked`, but for those that can still tell
 * from what the machine left behind that they would have failed.
 */
export async function runChecks(
  checks: readonly Check[],
  target: CheckTarget,
  options: RunChecksOptions,
): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  const passed = new Set<string>();
  let end: MachineEnd | undefined;
  for (const check of checks) {
    if (options.signal.aborted) break;
    const reason = end?.fact ?? missingNeed(check, passed);
    const skipped = check.skip?.(target);
    options.onStart?.(check);
    const { verdict, over } =
      skipped !== undefined
        ? resting(check, 'skipped', skipped)
        : reason !== undefined
          ? (postMortem(check, target, end) ?? resting(check, 'blocked', reason))
          : await runCheck(check, target, options.signal);
    if (verdict.outcome === 'passed') passed.add(check.id);
    if (over) end = { fact: `the machine did not survive ${check.id}`, blame: verdict.blame };
    verdicts.push(verdict);
    options.onVerdict?.(verdict);
  }
  return verdicts;
}

function missingNeed(check: Check, passed: ReadonlySet<string>): string | undefined {
  const missing = check.needs?.find((need) => !passed.has(need));
  return missing === undefined ? undefined : `it builds on ${missing}, which did not pass`;
}

interface Ran {
  readonly verdict: Verdict;
  /** Whether the machine is of no further use. */
  readonly over: boolean;
}

interface MachineEnd {
  readonly fact: string;
  readonly blame: Blame | undefined;
}

/** Undefined when the check cannot tell, or when it was not the submission that ended the machine. */
function postMortem(check: Check, target: CheckTarget, end: MachineEnd | undefined): Ran | undefined {
  if (end === undefined || end.blame !== 'submission') return undefined;
  const failure = check.postMortem?.(target);
  if (failure === undefined) return undefined;
  const { id, title } = check;
  const judgement = judgeThrown(failure, [end.fact], []);
  return { verdict: { id, title, proof: [], duration: 0, ...judgement }, over: false };
}

function resting({ id, title }: Check, outcome: Outcome, fact: string): Ran {
  return { verdict: { id, title, outcome, fact, proof: [], evidence: [], duration: 0 }, over: false };
}

type End =
  | { kind: 'returned' }
  | { kind: 'threw'; error: unknown }
  | { kind: 'late' }
  | { kind: 'dead'; fact: string; evidence?: readonly string[]; blame?: Blame };

async function runCheck(check: Check, target: CheckTarget, signal: AbortSignal): Promise<Ran> {
  const proof: string[] = [];
  const evidence: string[] = [];
  const stop = new AbortController();
  const started = performance.now();
  const cursor = target.machine.console.cursor;
  const body = check
    .run({
      ...target,
      signal: AbortSignal.any([signal, stop.signal]),
      prove: (fact) => void proof.push(fact),
      note: (text) => void evidence.push(text),
    })
    .then(
      (): End => ({ kind: 'returned' }),
      (error: unknown): End => ({ kind: 'threw', error }),
    );
  const limit = check.deadline * target.timeouts.scale;
  const end = await firstEnd(body, target, { limit, cursor, signal: stop.signal });
  stop.abort();
  const common = { id: check.id, title: check.title, proof, duration: performance.now() - started };
  if (isLate(end)) evidence.push(...(await blockedTasks(target)));
  const verdict = { ...common, ...judge(end, evidence, { limit, target, cursor, proof }) };
  return { verdict, over: end.kind === 'dead' || verdict.outcome === 'crashed' };
}

async function firstEnd(
  body: Promise<End>,
  target: CheckTarget,
  { limit, cursor, signal }: { limit: number; cursor: number; signal: AbortSignal },
): Promise<End> {
  const deadlines: Deadline[] = [];
  const after = (ms: number, end: End) =>
    new Promise<End>((resolve) => deadlines.push(new Deadline(() => resolve(end), ms)));
  const killed = killedForMemory();
  const exit = target.machine.exited.then((how) => ended(how, target, killedForMemory() - killed));
  const halt = target.machine.halted.catch(
    ({ message: fact, evidence }: LabError): End => ({ kind: 'dead', fact, evidence, blame: 'host' }),
  );
  const dead = Promise.race([exit, halt, panicked(target, { cursor, signal, timeout: limit })]);
  try {
    const end = await Promise.race([body, after(limit, { kind: 'late' }), dead]);
    if (end.kind !== 'threw' || !isCutOff(end.error)) return end;
    // A dying machine breaks its connections a while before its exit is seen.
    return await Promise.race([dead, after(GOES_DOWN * target.timeouts.scale, end)]);
  } finally {
    for (const deadline of deadlines) deadline.clear();
  }
}

/** Milliseconds from the loss of a connection to the end of a QEMU that is going down. */
const GOES_DOWN = 2000;

/** What a sanitizer finds is charged to the device under test if its source is in the report, and otherwise to QEMU. */
function ended(exit: QemuExit, { machine }: CheckTarget, killed: number): End {
  const found = sanitizerError(exit, { files: [], ...machine.owner, blame: 'submission' }, undefined);
  if (found !== undefined) {
    return { kind: 'dead', fact: found.message, evidence: found.evidence, blame: found.blame };
  }
  const outside = endedFromOutside(exit, killed);
  if (outside !== undefined) {
    const fact = `QEMU was ended from outside: ${outside}`;
    return { kind: 'dead', fact, evidence: exit.lines.filter((line) => line !== ''), blame: 'host' };
  }
  const { signal, code } = exit;
  return { kind: 'dead', fact: `QEMU ended (${signal ?? `exit code ${code ?? 'unknown'}`})` };
}

/**
 * What QEMU says of SIGTERM and the like, and the host's kernel of its memory. Only asked of a machine that an earlier
 * command started, whose end nobody sees: of our own child it is known, and a device under test may print what it likes.
 *
 * @param killed processes of the host that were killed for memory during the check.
 */
function endedFromOutside({ code, signal, lines }: QemuExit, killed: number): string | undefined {
  if (code !== null || signal !== null) return undefined;
  const said = lines
    .map((line) => /terminating on signal \d+.*/.exec(line)?.[0])
    .find((found) => found !== undefined);
  if (said !== undefined || killed <= 0) return said;
  return `meanwhile the kernel of this host killed ${killed === 1 ? 'a process' : `${killed} processes`} for memory`;
}

/** A kernel that panicked does not end QEMU and does not close the connection; only its console tells. */
async function panicked(
  { machine }: CheckTarget,
  wait: { cursor: number; signal: AbortSignal; timeout: number },
): Promise<End> {
  const { cursor: from, signal, timeout } = wait;
  const options = { name: 'a panic', from, signal, timeout, fatal: [] };
  const panic = await machine.console.waitFor(PANIC, options).catch(() => undefined);
  // No panic within the time: the other events decide.
  return panic === undefined ? await new Promise(() => {}) : { kind: 'dead', fact: panic.match[0] };
}

const PANIC = /Kernel panic - not syncing: .*/;

/** The last lines, or those around a panic: what it prints of registers and calls is longer. */
function lastWords(console: readonly string[]): readonly string[] {
  const panic = console.findIndex((line) => PANIC.test(line));
  return panic < 0 ? console.slice(-20) : console.slice(Math.max(0, panic - 10), panic + 10);
}

function isLate(end: End): boolean {
  return end.kind === 'late' || (end.kind === 'threw' && isTimeout(end.error));
}

function isTimeout(error: unknown): error is LabError {
  return error instanceof LabError && error.code === 'guest/timeout';
}

function isCutOff(error: unknown): boolean {
  return isLost(error) || (error instanceof LabError && error.code === 'monitor/closed');
}

function isLost(error: unknown): boolean {
  return error instanceof LabError && error.code === 'guest/lost';
}

interface Seen {
  readonly limit: number;
  readonly target: CheckTarget;
  readonly cursor: number;
  readonly proof: readonly string[];
}

type Judgement = Pick<Verdict, 'outcome' | 'evidence'> & Partial<Pick<Verdict, 'blame' | 'fact' | 'hint'>>;

function judge(end: End, evidence: readonly string[], seen: Seen): Judgement {
  if (end.kind === 'returned' && seen.proof.length > 0) return { outcome: 'passed', evidence };
  if (end.kind === 'returned') {
    const fact = 'the check ended without any proof; that is a mistake in the check';
    return { outcome: 'error', blame: 'host', fact, evidence };
  }
  const console = lastWords(seen.target.machine.console.lines(seen.cursor));
  if (end.kind === 'dead') {
    const { fact, blame = 'submission', evidence: seen = console } = end;
    const outcome = blame === 'host' ? 'error' : 'crashed';
    return { outcome, blame, fact, evidence: [...evidence, ...seen] };
  }
  if (end.kind === 'late') {
    const fact = `it did not end within ${(seen.limit / 1000).toFixed(0)} s`;
    return { outcome: 'timed-out', blame: 'submission', fact, evidence: [...evidence, ...console] };
  }
  return judgeThrown(end.error, [...evidence], console);
}

function judgeThrown(error: unknown, evidence: readonly string[], console: readonly string[]): Judgement {
  if (error instanceof CheckFailure) {
    const hint = error.hint === undefined ? {} : { hint: error.hint };
    return {
      outcome: error.outcome,
      blame: 'submission',
      fact: error.message,
      evidence: [...evidence, ...error.evidence],
      ...hint,
    };
  }
  if (isLost(error)) {
    const fact = 'the guest stopped answering';
    return { outcome: 'crashed', blame: 'submission', fact, evidence: [...evidence, ...console] };
  }
  if (isTimeout(error)) {
    return {
      outcome: 'timed-out',
      blame: 'submission',
      fact: error.message,
      evidence: [...evidence, ...error.evidence],
    };
  }
  if (isAbort(error)) return { outcome: 'error', blame: 'user', fact: 'interrupted', evidence };
  const detail = error instanceof LabError ? error.evidence : [String((error as Error).stack ?? error)];
  const fact = error instanceof Error ? error.message : String(error);
  return { outcome: 'error', blame: 'host', fact, evidence: [...evidence, ...detail] };
}
