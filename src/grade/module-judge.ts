import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { formatDiagnostics } from '../build/diagnostics.js';
import { LabError } from '../errors.js';
import { builtName } from '../intake/module-rules.js';
import type { Submission } from '../intake/submission.js';
import type { Prepared } from '../lab/prepare.js';
import { MODULE_AT } from '../sandbox/build-module.js';
import { buildSubmittedProgram } from '../sandbox/build-program.js';
import { codeOf, decodeCrashes, type HandedInText } from './crashes.js';
import type { BuildFileChange, GradedCheck } from './grade-report.js';
import type { Judged, JudgedLine, JudgeRun } from './grading.js';
import { type BuiltModule, buildHandedIn } from './module-build.js';
import type { ModuleLab, ModuleLine } from './module-lab.js';
import { type ModuleLaneResult, type ModuleLaneSpec, runModuleLane } from './module-lane.js';

/** Machines that run at the same time for one hand-in. */
const AT_ONCE = 2;

/**
 * Judges a hand-in of modules: each is built by itself, then the lab's checks run, those of one group on a machine of
 * their own.
 *
 * @throws LabError for a fault of the host, and `interrupted`.
 */
export async function judgeModules(
  submission: Submission,
  spec: ModuleLab,
  prepared: Prepared,
  run: JudgeRun,
): Promise<Judged> {
  await mkdir(run.dir, { recursive: true });
  const [built, program] = await settled([
    inTurn(spec.rules.modules, AT_ONCE, (rule) => buildHandedIn(rule, submission, prepared.linux, run)),
    buildProgram(submission, run),
  ] as const);
  run.stages.feedback();
  tellBuilds(built, run);
  const lanes = await runLanes(spec, built, program, prepared, run);
  const texts: HandedInText = new Map(built.flatMap(({ texts: own }) => [...own]));
  const symbols = built.flatMap(({ ko }) => (ko === undefined ? [] : [{ path: ko, root: MODULE_AT }]));
  const crashes = await decodeCrashes(lanes, symbols, texts, run);
  const lines = spec.lines.map((line): [string, JudgedLine] => {
    const judged = { checks: checksOf(line, built, lanes), evidence: [] };
    return [line.id, { ...judged, code: codeOf(judged, texts, crashes) }];
  });
  return {
    lines: new Map(lines),
    changes: [...built.flatMap(({ notes }) => notes), ...program.notes],
    warnings: formatDiagnostics(built.flatMap(({ warnings }) => warnings)),
    buildFiles: makefilesOf(built),
    consoles: lanes.map(({ console }) => console),
    crashes,
  };
}

/** All of them end before the first failure is thrown: nothing goes on in the background. */
async function settled<T extends readonly Promise<unknown>[]>(work: T) {
  await Promise.allSettled(work);
  return await Promise.all(work);
}

/** Results in the order of the items. */
async function inTurn<T, R>(
  items: readonly T[],
  atOnce: number,
  body: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const index = next++;
      results[index] = await body(items[index] as T);
    }
  };
  await settled(Array.from({ length: Math.min(atOnce, items.length) }, worker));
  return results;
}

interface BuiltProgram {
  /** Host path. */
  readonly path?: string;
  readonly notes: readonly string[];
}

async function buildProgram({ application }: Submission, run: JudgeRun): Promise<BuiltProgram> {
  if (application === undefined) return { notes: [] };
  const dir = join(run.dir, 'application');
  await mkdir(dir, { recursive: true });
  const { origin } = application;
  try {
    const { program, warnings } = await buildSubmittedProgram(application.path, dir, run);
    return { path: program, notes: [`the program ${origin} compiles`, ...formatDiagnostics(warnings)] };
  } catch (error) {
    if (!(error instanceof LabError) || error.blame !== 'submission') throw error;
    return { notes: [`the program ${origin} does not compile`, ...error.evidence] };
  }
}

/** The first that a student can act on; the machines are still to boot. */
function tellBuilds(built: readonly BuiltModule[], { tell }: JudgeRun): void {
  for (const { name, build } of built)
    tell(build.outcome === 'passed' ? `${name} builds` : `${name}: ${build.fact ?? build.outcome}`);
}

async function runLanes(
  spec: ModuleLab,
  built: readonly BuiltModule[],
  program: BuiltProgram,
  prepared: Prepared,
  run: JudgeRun,
): Promise<ModuleLaneResult[]> {
  const kos = built.flatMap(({ name, ko }) => (ko === undefined ? [] : [[name, ko] as const]));
  const there = new Set(kos.map(([name]) => name));
  const lines = spec.lines.filter(({ modules }) => modules.every((name) => there.has(name)));
  const own = ownFiles(spec, prepared);
  const under = spec.rules.program.name;
  const submitted = program.path === undefined ? [] : [[under, program.path] as const];
  const lane = {
    modules: Object.fromEntries(kos),
    programs: Object.fromEntries([...own.filter(([name]) => name !== under), ...submitted]),
  };
  const groups = [...groupsOf(spec, lines)];
  const results = await inTurn(groups, AT_ONCE, async ([group, ids]) => {
    const base: ModuleLaneSpec = {
      ...{ ...lane, stage: `run-${group}`, on: groups.length > 1 ? `machine ${group}` : 'machine', group },
      isWanted: (line) => ids.has(line),
    };
    return await withoutSmapToo(base, lines, spec, prepared, run);
  });
  return results.flat();
}

/** What of our own the checks work with: programs, and modules that are not under test, by file name. */
function ownFiles({ rules }: ModuleLab, { programs, modules }: Prepared): (readonly [string, string])[] {
  const tested = new Set(rules.modules.flatMap((rule) => [rule.name, builtName(rule)]));
  const helpers = Object.entries(modules).filter(([name]) => !tested.has(name));
  return [
    ...Object.entries(programs).map(([name, { binary }]) => [name, binary] as const),
    ...helpers.map(([name, { ko }]) => [`${name}.ko`, ko] as const),
  ];
}

/** The lines that the checks of each machine are about; the machine that may take longest comes first. */
function groupsOf(
  { checks, rules }: ModuleLab,
  lines: readonly ModuleLine[],
): ReadonlyMap<string, ReadonlySet<string>> {
  const nowhere = Object.fromEntries(rules.modules.map(({ name }) => [name, '/nowhere']));
  const all = checks({ modules: nowhere, programs: {} });
  const own = all.filter(({ line }) => lines.some(({ id }) => id === line));
  const groups = new Map<string, Set<string>>();
  const times = new Map<string, number>();
  for (const { machine, line, deadline } of own) {
    groups.set(machine, (groups.get(machine) ?? new Set()).add(line));
    times.set(machine, (times.get(machine) ?? 0) + deadline);
  }
  return new Map([...groups].sort(([a], [b]) => (times.get(b) ?? 0) - (times.get(a) ?? 0)));
}

/**
 * A module that follows a user's pointer directly ends its machine at the first access. The lines that are not about
 * that are seen where the CPU lets the kernel follow one.
 */
async function withoutSmapToo(
  base: ModuleLaneSpec,
  lines: readonly ModuleLine[],
  spec: ModuleLab,
  prepared: Prepared,
  run: JudgeRun,
): Promise<ModuleLaneResult[]> {
  const first = await runModuleLane(base, spec, prepared, run);
  const charged = chargedLine(lines, first);
  const raw = first.findings.rawPointer;
  if (raw === undefined || charged === undefined) return [first];
  const { fact, hint, evidence } = raw;
  const pointers: GradedCheck = {
    id: 'user-pointers',
    title: 'pointers of user space are only used through copy_to_user, copy_from_user and the like',
    ...{ outcome: 'failed', blame: 'submission', fact, hint, evidence, on: first.on, duration: 0 },
  };
  const kept = first.checks.filter(({ line }) => line === charged.id);
  const seen = { ...first, checks: [{ line: charged.id, graded: pointers }, ...kept] };
  const others = first.checks.some(({ line }) => line !== charged.id);
  if (!others) return [seen];
  const second = {
    ...{ ...base, stage: `${base.stage}-without-smap`, on: `${base.on}, CPU without SMAP` },
    ...{ withoutCpu: ['smap'], isWanted: (line: string) => base.isWanted(line) && line !== charged.id },
  };
  return [seen, await runModuleLane(second, spec, prepared, run)];
}

/** The line about pointers: one of this machine, or else one about the same modules. */
function chargedLine(lines: readonly ModuleLine[], { checks }: ModuleLaneResult): ModuleLine | undefined {
  const own = lines.filter(({ id }) => checks.some(({ line }) => line === id));
  const modules = new Set(own.flatMap((line) => line.modules));
  const about = lines.filter(({ pointers }) => pointers);
  return (
    about.find((line) => own.includes(line)) ?? about.find((line) => line.modules.some((m) => modules.has(m)))
  );
}

/** That it builds says the least, so it comes last. */
function checksOf(
  line: ModuleLine,
  built: readonly BuiltModule[],
  lanes: readonly ModuleLaneResult[],
): readonly GradedCheck[] {
  const builds = built.filter(({ name }) => line.modules.includes(name)).map(({ build }) => build);
  const failed = builds.filter(({ outcome }) => outcome !== 'passed');
  if (failed.length > 0) return failed;
  const seen = lanes.flatMap(({ checks }) => checks.filter((check) => check.line === line.id));
  return [...seen.map(({ graded }) => graded), ...builds];
}

/** Once per content: every module has a copy of them. */
function makefilesOf(built: readonly BuiltModule[]): BuildFileChange[] {
  const files = new Map(built.flatMap(({ makefiles }) => [...makefiles]));
  return [...files].map(([path, text]) => ({ path, diff: text.replace(/^/gm, '+') }));
}
