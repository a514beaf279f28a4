import { cp, mkdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { formatDiagnostics } from '../../../build/diagnostics.js';
import { LabError } from '../../../errors.js';
import { codeOf, decodeCrashes, type HandedInText } from '../../../grade/crashes.js';
import type { DecodedCrash, GradedCheck } from '../../../grade/grade-report.js';
import type { Judged, JudgedLine, JudgeRun } from '../../../grade/grading.js';
import { overall } from '../../../grade/report.js';
import { buildFileChanges } from '../../../intake/build-files.js';
import type { Submission } from '../../../intake/submission.js';
import { launchBare } from '../../../machine/bare.js';
import type { QemuInstallation } from '../../../machine/spec.js';
import { MODULE_AT } from '../../../sandbox/build-module.js';
import { buildSubmittedProgram } from '../../../sandbox/build-program.js';
import type { SubmittedQemu } from '../../../sandbox/build-qemu.js';
import type { SymbolFile } from '../../../sandbox/decode.js';
import { orSetupFailed } from '../../../sandbox/jail.js';
import { openBareJail, SECCOMP } from '../../../sandbox/machine.js';
import { type BareLaneResult, bareDevices, runBareLane } from './bare.js';
import type { Foundation } from './bench.js';
import { type Driver, deviceHalf, driverHalf, type Half } from './halves.js';
import { collectEnhancements, reportEvidence } from './hand-marking.js';
import { type LaneResult, runLane } from './lane.js';
import { DeviceOracle, keyedOracle } from './oracle.js';
import { placeFor } from './place.js';

/** The halves of a submission and what they showed, alone and together. */
interface Seen {
  readonly device: Half<SubmittedQemu>;
  readonly driver: Half<Driver>;
  readonly bare?: BareLaneResult;
  /** The student's driver on our keyed device: no driver can guess its numbers. */
  readonly cross?: LaneResult;
  /** Both halves as they were handed in. */
  readonly pair?: LaneResult;
  /** The student's device with our driver. */
  readonly ours?: LaneResult;
  readonly application: readonly string[];
}

/**
 * Judges a hand-in: each half against our own other half, so that a fault is charged where it is, and both together.
 *
 * @throws LabError for a fault of the host, and `interrupted`.
 */
export async function judgeSubmission(
  submission: Submission,
  foundation: Foundation,
  run: JudgeRun,
): Promise<Judged> {
  await mkdir(run.dir, { recursive: true });
  // the device comes first: what its registers show is the first feedback
  const deviceWork = deviceHalf(submission, foundation, run).then(async (device) => {
    const { built } = device;
    const bare = built === undefined ? undefined : await bareLane(built, run);
    run.stages.feedback();
    tellDevice(device, bare, run);
    return { device, ...(bare === undefined ? {} : { bare }) };
  });
  const [{ device, bare }, driver, application] = await settled([
    deviceWork,
    driverHalf(submission, foundation, run),
    buildApplication(submission, run),
  ] as const);
  const lanes = await bootedLanes({ submission, foundation, run, device, driver, bare, application });
  const seen: Seen = {
    device,
    driver,
    ...(bare === undefined ? {} : { bare }),
    ...lanes,
    application: application.evidence,
  };
  return await verdict(submission, seen, foundation, run);
}

/** The first that a student can act on; the machines are still to boot. */
function tellDevice(
  { apply, build }: Half<SubmittedQemu>,
  bare: BareLaneResult | undefined,
  { tell }: JudgeRun,
) {
  const checks = [apply, build, ...Object.values(bare?.lines ?? {}).flat()];
  const bad = checks.filter(({ outcome }) => outcome !== 'passed' && outcome !== 'skipped');
  for (const { fact, title } of bad.slice(0, 3)) tell(`the device: ${fact ?? title}`);
  if (bad.length === 0)
    tell('the device: its patch applies, it builds, and its registers do what they should');
}

/** All of them end before the first failure is thrown: nothing goes on in the background. */
async function settled<T extends readonly Promise<unknown>[]>(work: T) {
  await Promise.allSettled(work);
  return await Promise.all(work);
}

/** Starts the device under test without a guest, each time in a jail of its own. */
function bareStarter(qemu: QemuInstallation, { timeouts, signal }: JudgeRun) {
  return async (instances: number) => {
    const jail = await openBareJail({ readOnly: [dirname(qemu.binary), ...qemu.dataDirs] });
    const spec = { qemu, devices: bareDevices('my_rng', instances), extra: SECCOMP, wrap: jail.prefix };
    try {
      const machine = await launchBare(spec, { timeouts, signal });
      void machine.exited.then(() => jail[Symbol.asyncDispose]());
      return machine;
    } catch (error) {
      const cause = orSetupFailed(error, jail);
      await jail[Symbol.asyncDispose]();
      throw cause;
    }
  };
}

async function bareLane(qemu: SubmittedQemu, run: JudgeRun): Promise<BareLaneResult> {
  const { nonce, timeouts, signal } = run;
  const on = 'student device without a guest';
  return await run.stages.run('bare', 'Registers of the device', () =>
    run.reuse(`bare ${qemu.digest}`, () =>
      runBareLane({ start: bareStarter(qemu, run), signal, timeouts, nonce, on }),
    ),
  );
}

interface Application {
  readonly program?: string;
  readonly evidence: readonly string[];
}

async function buildApplication({ application }: Submission, run: JudgeRun): Promise<Application> {
  if (application === undefined) return { evidence: ['no source of an application was handed in'] };
  const dir = join(run.dir, 'application');
  await mkdir(dir, { recursive: true });
  try {
    const { program, warnings } = await buildSubmittedProgram(application.path, dir, run);
    return { program, evidence: formatDiagnostics(warnings) };
  } catch (error) {
    if (!(error instanceof LabError) || error.blame !== 'submission') throw error;
    return { evidence: [`the application ${application.origin} does not compile`, ...error.evidence] };
  }
}

interface LaneInput {
  readonly submission: Submission;
  readonly foundation: Foundation;
  readonly run: JudgeRun;
  readonly device: Half<SubmittedQemu>;
  readonly driver: Half<Driver>;
  readonly bare: BareLaneResult | undefined;
  readonly application: Application;
}

type Lanes = Pick<Seen, 'cross' | 'pair' | 'ours'>;

async function bootedLanes(input: LaneInput): Promise<Lanes> {
  const { device, driver, bare, run, foundation } = input;
  const usable = bare !== undefined && repeats(bare) ? device.built : undefined;
  await using oracle = usable === undefined ? undefined : new DeviceOracle(() => bareStarter(usable, run)(1));
  const withDevice = usable === undefined || oracle === undefined ? undefined : { qemu: usable, oracle };
  const [cross, pair] = await settled([
    driver.built === undefined ? Promise.resolve(undefined) : crossLane(input, driver.built),
    driver.built === undefined || withDevice === undefined
      ? Promise.resolve(undefined)
      : pairLane(input, driver.built, withDevice),
  ] as const);
  const confirmed = pair !== undefined && sequenceHolds(pair);
  const ours =
    withDevice === undefined || confirmed ? undefined : await oursLane(withDevice, foundation, run);
  return {
    ...(cross === undefined ? {} : { cross }),
    ...(pair === undefined ? {} : { pair }),
    ...(ours === undefined ? {} : { ours }),
  };
}

/** A device that does not repeat itself cannot be asked what it would give. */
function repeats({ lines }: BareLaneResult): boolean {
  return overall(lines['device-repeat-seed']) === 'passed';
}

function sequenceHolds({ lines }: LaneResult): boolean {
  return overall(lines.get('driver-repeat-seed') ?? []) === 'passed';
}

const DRIVER_LINES = ['driver-repeat-seed', 'driver-safe-transfer'] as const;

/** Depends on the driver alone, so students with the same driver are judged by the same run. */
async function crossLane(input: LaneInput, driver: Driver): Promise<LaneResult> {
  const { run } = input;
  const lane = await run.reuse(`cross ${driver.digest}`, () => crossLaneOf(input, driver));
  for (const dir of lane.dirs) {
    const own = join(run.dir, basename(dir));
    if (own !== dir) await cp(dir, own, { recursive: true, filter: (path) => !path.endsWith('.qcow2') });
  }
  return lane;
}

async function crossLaneOf(
  { foundation, run, driver: half }: LaneInput,
  driver: Driver,
): Promise<LaneResult> {
  const key = run.nonce.subarray(32, 64).toString('hex');
  const spec = {
    on: 'student driver on the reference device',
    stage: 'cross',
    qemu: foundation.qemu,
    device: `my_rng,key=${key}`,
    oracle: keyedOracle(key),
    counted: true,
    driver,
    profile: placeFor(driverTexts(half)).profile,
    lines: DRIVER_LINES,
    bootTest: false,
  };
  const lane = await runLane(spec, foundation, run);
  if (lane.findings.rawPointer === undefined) return lane;
  // whether seeding works can still be seen where the CPU lets the kernel follow a user's pointer
  const on = `${spec.on}, CPU without SMAP`;
  const lines = ['driver-repeat-seed'] as const;
  const second = { ...spec, on, stage: 'cross-without-smap', lines, withoutCpu: ['smap'] };
  const more = await runLane(second, foundation, run);
  return { ...lane, lines: new Map([...lane.lines, ...more.lines]), dirs: [...lane.dirs, ...more.dirs] };
}

interface WithDevice {
  readonly qemu: SubmittedQemu;
  readonly oracle: DeviceOracle;
}

async function pairLane(
  { foundation, run, driver: half, application }: LaneInput,
  driver: Driver,
  { qemu, oracle }: WithDevice,
): Promise<LaneResult> {
  const texts = driverTexts(half);
  return await runLane(
    {
      on: 'student driver on the student device',
      stage: 'pair',
      qemu,
      device: 'my_rng',
      oracle,
      counted: false,
      driver,
      profile: placeFor(texts).profile,
      lines: ['device-repeat-seed', ...DRIVER_LINES],
      bootTest: texts.some((text) => text.includes('MY-RNG TEST')),
      application: application.program,
    },
    foundation,
    run,
  );
}

async function oursLane(
  { qemu, oracle }: WithDevice,
  foundation: Foundation,
  run: JudgeRun,
): Promise<LaneResult> {
  const { linux, module } = foundation;
  return await runLane(
    {
      on: 'reference driver on the student device',
      stage: 'ours',
      qemu,
      device: 'my_rng',
      oracle,
      counted: false,
      driver: { vmlinux: linux.vmlinux, release: linux.release, modules: [module.ko], digest: module.digest },
      profile: placeFor([]).profile,
      lines: ['driver-repeat-seed'],
      bootTest: false,
    },
    foundation,
    run,
  );
}

/** C files of the driver half, as handed in. */
function driverTexts({ fit, sources }: Half<Driver>): string[] {
  const inTree = [...(fit?.files ?? [])].filter(([path]) => path.endsWith('.c') || path.endsWith('.h'));
  return [...inTree.map(([, { data }]) => data?.toString('latin1') ?? ''), ...(sources?.values() ?? [])];
}

async function verdict(
  submission: Submission,
  seen: Seen,
  foundation: Foundation,
  run: JudgeRun,
): Promise<Judged> {
  const { device, driver, bare, cross, pair, ours } = seen;
  const lanes = [cross, pair, ours].filter((lane) => lane !== undefined);
  const place = placeFor(driverTexts(driver));
  const texts = handedInTexts(device, driver);
  const crashes = await decoded(lanes, { driver, texts, foundation, run });
  const lines = new Map<string, JudgedLine>([
    ['device-patch-applies', { checks: [device.apply], evidence: [] }],
    ['device-repeat-seed', withCode(deviceRepeats(seen), texts, crashes)],
    ['device-registers', withCode(deviceLine(device, bare?.lines['device-registers'], []), texts, crashes)],
    ['driver-patch-applies', { checks: [driver.apply], evidence: [] }],
    ['driver-repeat-seed', withCode(driverLine(seen, 'driver-repeat-seed'), texts, crashes)],
    ['driver-safe-transfer', withCode(driverLine(seen, 'driver-safe-transfer'), texts, crashes)],
    ['report', { checks: [], evidence: reportEvidence(submission) }],
    ['enhancement', { checks: [], evidence: collectEnhancements({ submission, texts, lanes, bare }) }],
  ]);
  return {
    lines: await withApplication(lines, seen),
    changes: [...device.notes, ...driver.notes, ...(place.note === undefined ? [] : [place.note])],
    warnings: formatDiagnostics([...device.warnings, ...driver.warnings]),
    buildFiles: Object.values(submission.parts).flatMap((part) => buildFileChanges(part)),
    consoles: lanes.map(({ console }) => console),
    crashes,
  };
}

function withCode(line: JudgedLine, texts: HandedInText, crashes: readonly DecodedCrash[]): JudgedLine {
  return { ...line, code: codeOf(line, texts, crashes) };
}

async function withApplication(lines: Map<string, JudgedLine>, { pair, application }: Seen) {
  const open = lines.get('enhancement');
  const evidence = [...application, ...(pair?.application?.evidence ?? [])];
  if (open !== undefined) lines.set('enhancement', { ...open, evidence: [...open.evidence, ...evidence] });
  return lines;
}

/** What the device shows in a machine has to be what it showed alone: a device may know that it is looked at. */
function deviceRepeats({ device, bare, pair, ours }: Seen): JudgedLine {
  const alone = bare?.lines['device-repeat-seed'];
  const evidence = pair?.evidence ?? [];
  const lane = pair !== undefined && sequenceHolds(pair) ? pair : ours;
  if (alone === undefined || lane === undefined) return deviceLine(device, alone, evidence);
  const checks = lane.lines.get('driver-repeat-seed') ?? [];
  const outcome = overall(checks);
  const worst = checks.find((check) => check.outcome === outcome);
  const inMachine: GradedCheck = {
    id: 'in-a-machine',
    title: 'in a booted machine the device gives the numbers that it gives alone',
    outcome,
    ...(worst === undefined || outcome === 'passed'
      ? {}
      : {
          blame: worst.blame ?? 'submission',
          fact: worst.fact ?? `${worst.title}: ${worst.outcome}`,
          ...(worst.hint === undefined ? {} : { hint: worst.hint }),
        }),
    evidence: checks.flatMap((check) => check.evidence),
    on: lane.on,
    duration: checks.reduce((sum, { duration }) => sum + duration, 0),
  };
  return deviceLine(device, [...alone, inMachine], evidence);
}

function deviceLine(
  { build }: Half<SubmittedQemu>,
  checks: readonly GradedCheck[] | undefined,
  evidence: readonly string[],
): JudgedLine {
  return { checks: afterBuild(build, checks), evidence };
}

/**
 * The keyed reference device decides: what comes through there was read from it. A driver that fails there may still
 * be right with its own device, but only when this one has registers that the reference device lacks.
 */
function driverLine({ driver, bare, cross, pair }: Seen, line: (typeof DRIVER_LINES)[number]): JudgedLine {
  const { build } = driver;
  if (cross === undefined) return { checks: [build], evidence: [] };
  const excused = bare?.extended === true && pair !== undefined && sequenceHolds(pair);
  const ownOnly = excused && !sequenceHolds(cross);
  const chosen = ownOnly ? pair : cross;
  const other = ownOnly ? cross : pair;
  const own = chosen.lines.get(line) ?? [];
  // what the other machine shows of a line that is lost anyway helps to understand it
  const more = overall(own) === 'passed' ? [] : (other?.lines.get(line) ?? []).filter(isFailed);
  const decisive = [...own, ...more];
  const note = ownOnly
    ? [
        'the driver works with its own device only; the reference device, which has just the two registers, was not enough',
      ]
    : [];
  return {
    checks: afterBuild(build, [...pointerCheck(chosen, line), ...decisive]),
    evidence: [...note, ...chosen.evidence, ...summaryOf(other, line)],
  };
}

/** A pointer of user space touched directly ends the guest in another check, but it is this line that it is about. */
function pointerCheck({ findings, on }: LaneResult, line: string): GradedCheck[] {
  const { rawPointer } = findings;
  if (rawPointer === undefined || line !== 'driver-safe-transfer') return [];
  const { fact, hint, evidence } = rawPointer;
  return [
    {
      id: 'driver-user-pointers',
      title: 'pointers of user space are only used through copy_to_user and copy_from_user',
      ...{ outcome: 'failed', blame: 'submission', fact, hint, evidence, on, duration: 0 },
    },
  ];
}

function isFailed({ outcome }: GradedCheck): boolean {
  return outcome === 'failed';
}

/** That it builds says the least, so it comes last. */
function afterBuild(build: GradedCheck, checks: readonly GradedCheck[] = []): GradedCheck[] {
  return [...checks, build];
}

function summaryOf(lane: LaneResult | undefined, line: (typeof DRIVER_LINES)[number]): string[] {
  const checks = lane?.lines.get(line) ?? [];
  return checks.map(
    ({ on, title, outcome, fact }) => `${on}: ${title}: ${outcome}${fact === undefined ? '' : `: ${fact}`}`,
  );
}

/** All text files of the hand-in by path in the source tree, the module's sources by name. */
function handedInTexts(device: Half<SubmittedQemu>, driver: Half<Driver>): HandedInText {
  const files = [...(device.fit?.files ?? []), ...(driver.fit?.files ?? [])];
  const texts = files.map(([path, { data }]): [string, string] => [path, data?.toString('latin1') ?? '']);
  return new Map([...texts, ...(driver.sources ?? [])]);
}

async function decoded(
  lanes: readonly LaneResult[],
  about: {
    readonly driver: Half<Driver>;
    readonly texts: HandedInText;
    readonly foundation: Foundation;
    readonly run: JudgeRun;
  },
): Promise<DecodedCrash[]> {
  const { driver, texts, foundation, run } = about;
  if (driver.built === undefined) return [];
  const root = join(foundation.linuxSeed.at, 'src');
  const files: SymbolFile[] = [
    ...(driver.built.linux === undefined ? [] : [{ path: driver.built.vmlinux, root }]),
    ...driver.built.modules.map((path) => ({
      path,
      root: driver.built?.linux === undefined ? MODULE_AT : root,
    })),
  ];
  return await decodeCrashes(lanes, files, texts, run);
}
