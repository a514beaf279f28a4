import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { KernelReport } from '../../../console/kernel-report.js';
import { isAbort, LabError } from '../../../errors.js';
import type { ConsoleExcerpt, GradedCheck } from '../../../grade/grade-report.js';
import type { JudgeRun } from '../../../grade/grading.js';
import { consoleExcerpt, gradedCheck, MOST_CONSOLE_LINES } from '../../../grade/lane-result.js';
import { runChecks } from '../../../grade/run-checks.js';
import { withSealedMachine } from '../../../grade/sealed-machine.js';
import { put } from '../../../guest/transfer.js';
import type { CheckTarget, Verdict } from '../../../lab/check.js';
import { fileNames } from '../../../machine/arguments.js';
import type { Machine } from '../../../machine/machine.js';
import type { Profile, QemuInstallation } from '../../../machine/spec.js';
import type { Foundation } from './bench.js';
import { bootedChecks } from './booted.js';
import { type ApplicationRun, runApplication } from './booted-application.js';
import {
  type AccessCounters,
  type BootedCheck,
  type BootedFindings,
  type BootedLine,
  newFindings,
} from './booted-setup.js';
import type { Driver } from './halves.js';
import type { Oracle } from './oracle.js';

/** One machine with one device and one driver, of which at most one is ours. */
export interface LaneSpec {
  /** For evidence: `student driver on the reference device`. */
  readonly on: string;
  /** Names its folder and stage. */
  readonly stage: string;
  readonly qemu: QemuInstallation;
  readonly device: string;
  readonly oracle: Oracle;
  /** The device counts accesses. */
  readonly counted: boolean;
  readonly driver: Driver;
  readonly profile: Profile;
  /** Only the checks of these lines. */
  readonly lines: readonly BootedLine[];
  readonly bootTest: boolean;
  /** Host path of the student's application. */
  readonly application?: string | undefined;
  readonly withoutCpu?: readonly string[];
}

export interface LaneResult {
  readonly on: string;
  readonly lines: ReadonlyMap<BootedLine, readonly GradedCheck[]>;
  /** What checks that are not charged have seen. */
  readonly evidence: readonly string[];
  readonly findings: BootedFindings;
  readonly console: ConsoleExcerpt;
  readonly reports: readonly KernelReport[];
  /** Host folders of its machines. */
  readonly dirs: readonly string[];
  readonly application?: ApplicationRun;
}

/** The id under which the machine knows the device. */
const DEVICE_ID = 'rng0';

/**
 * Boots a machine cold and runs the checks of a driver on it. A kernel that does not come up is a verdict.
 *
 * @throws LabError for a fault of the host, and `interrupted`.
 */
export async function runLane(spec: LaneSpec, foundation: Foundation, run: JudgeRun): Promise<LaneResult> {
  const title = `Boot: ${spec.on}`;
  return await run.stages.run(spec.stage, title, async () => {
    const findings = newFindings();
    let machine: Machine | undefined;
    try {
      return await withSealedMachine(await bootOf(spec, foundation, run), run, async (booted, guest) => {
        machine = booted;
        const target = targetOf(spec, { machine: booted, guest }, run);
        return await judge(spec, target, findings, foundation, run);
      });
    } catch (error) {
      if (run.signal.aborted || isAbort(error)) throw error;
      return await neverBooted(spec, run, findings, bootFailure(error, spec, machine));
    }
  });
}

async function bootOf(spec: LaneSpec, { image, qemu }: Foundation, { dir }: JudgeRun) {
  const folder = join(dir, spec.stage);
  await mkdir(folder, { recursive: true });
  return {
    name: 'guest',
    dir: folder,
    qemu: spec.qemu,
    kernel: spec.driver.vmlinux,
    image,
    qemuImg: qemu.img,
    profile: spec.profile,
    devices: [`${spec.device},id=${DEVICE_ID}`],
    withoutCpu: spec.withoutCpu ?? [],
  };
}

function targetOf(
  spec: LaneSpec,
  live: Pick<CheckTarget, 'machine' | 'guest'>,
  { nonce, timeouts }: JudgeRun,
): CheckTarget {
  const variant = spec.driver.modules.length > 0 ? 'module' : 'built-in';
  return { lab: 'my-rng', ...live, profile: spec.profile.name, variant, timeouts, nonce };
}

async function judge(
  spec: LaneSpec,
  target: CheckTarget,
  findings: BootedFindings,
  foundation: Foundation,
  run: JudgeRun,
): Promise<LaneResult> {
  const { signal, timeouts } = run;
  const folder = `/tmp/${randomBytes(8).toString('hex')}`;
  const probe = `${folder}/${randomBytes(8).toString('hex')}`;
  const modules = spec.driver.modules.map((from) => ({ from, to: `${folder}/${from.split('/').at(-1)}` }));
  const program = `${folder}/application`;
  const { application } = spec;
  const items = [
    { from: foundation.probe.binary, to: probe, mode: 0o755 },
    ...modules.map((item) => ({ ...item, mode: 0o644 })),
    ...(application === undefined ? [] : [{ from: application, to: program, mode: 0o755 }]),
  ];
  await put(target.guest, items, { timeouts });
  const setup = {
    oracle: spec.oracle,
    ...(spec.counted ? { witness: { counters: () => counters(target.machine) } } : {}),
    driver: modules.length === 0 ? ('built-in' as const) : { modules: modules.map(({ to }) => to) },
    probe,
    bootTest: spec.bootTest,
  };
  const checks = bootedChecks(setup, findings).filter(({ line }) => spec.lines.includes(line));
  const verdicts = await runChecks(checks, target, { signal });
  const dead = verdicts.some(({ outcome }) => outcome === 'crashed');
  const ran =
    application === undefined || dead ? undefined : await runApplication(target, setup, program, signal);
  return {
    ...resultOf(spec, run, { checks, verdicts, findings, machine: target.machine }),
    ...(ran === undefined ? {} : { application: ran }),
  };
}

async function counters({ monitor }: Machine): Promise<AccessCounters> {
  const get = async (property: string) =>
    Number(await monitor.execute('qom-get', { path: `/machine/peripheral/${DEVICE_ID}`, property }));
  return { reads: await get('reads'), seeds: await get('seeds') };
}

function resultOf(
  spec: LaneSpec,
  run: JudgeRun,
  seen: {
    readonly checks: readonly BootedCheck[];
    readonly verdicts: readonly Verdict[];
    readonly findings: BootedFindings;
    readonly machine: Machine;
  },
): LaneResult {
  const { checks, verdicts, findings, machine } = seen;
  const lines = new Map<BootedLine, GradedCheck[]>(spec.lines.map((line) => [line, []]));
  const evidence: string[] = [];
  for (const [i, verdict] of verdicts.entries()) {
    const check = checks[i];
    const graded = gradedCheck(verdict, spec.on);
    if (check?.charged) lines.get(check.line)?.push(graded);
    else evidence.push(...uncharged(graded));
  }
  return { on: spec.on, lines, evidence, findings, ...consoleOf(spec, run, machine.console.lines()) };
}

/** A check that was skipped has nothing to say about its line. */
function uncharged({ outcome, title, fact, evidence, on }: GradedCheck): string[] {
  if (outcome === 'skipped' || outcome === 'blocked') return [];
  return [`${on}: ${title}: ${outcome}${fact === undefined ? '' : `: ${fact}`}`, ...evidence];
}

function consoleOf(
  { on, stage }: LaneSpec,
  { dir }: JudgeRun,
  all: readonly string[],
): Pick<LaneResult, 'console' | 'reports' | 'dirs'> {
  const log = join(basename(dir), stage, fileNames.console);
  return { ...consoleExcerpt(on, all, log), dirs: [join(dir, stage)] };
}

/** The reference solution boots on this host, so whatever kept this kernel from it is the submission's. */
function bootFailure(error: unknown, spec: LaneSpec, machine: Machine | undefined): GradedCheck {
  if (!(error instanceof LabError) || !isBootTrouble(error)) throw error;
  // our own QEMU starts whatever the guest is
  if (spec.counted && error.code.startsWith('machine/start')) throw error;
  const hung = /timeout|silent|not-ready/.test(error.code);
  const base = { id: 'boots', title: 'the machine boots', on: spec.on, duration: 0 };
  const evidence = [...error.evidence, ...(machine?.console.lines().slice(-10) ?? [])];
  return {
    ...base,
    ...{ outcome: hung ? 'timed-out' : 'crashed', blame: 'submission', fact: error.message, evidence },
    hint: 'read the console: what ran last is the likely cause',
  };
}

function isBootTrouble({ code, blame }: LabError): boolean {
  return (
    blame === 'submission' || /^(console\/|machine\/(exit|start|no-device)|guest\/|monitor\/)/.test(code)
  );
}

async function neverBooted(
  spec: LaneSpec,
  run: JudgeRun,
  findings: BootedFindings,
  check: GradedCheck,
): Promise<LaneResult> {
  const lines = new Map(spec.lines.map((line): [BootedLine, GradedCheck[]] => [line, [check]]));
  const log = await readFile(join(run.dir, spec.stage, fileNames.console), 'latin1').catch(() => '');
  const last = log.split(/\r?\n/).slice(-MOST_CONSOLE_LINES);
  return { on: spec.on, lines, evidence: [], findings, ...consoleOf(spec, run, last) };
}
