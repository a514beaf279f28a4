import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type Diagnostic, formatDiagnostics } from '../build/diagnostics.js';
import type { Kernel } from '../build/kernel.js';
import { LabError } from '../errors.js';
import { builtName, type ModuleRule, moduleName } from '../intake/module-rules.js';
import type { LooseModule, Submission } from '../intake/submission.js';
import { buildSubmittedModule } from '../sandbox/build-module.js';
import { explainBuild } from './explain-build.js';
import type { GradedCheck } from './grade-report.js';
import type { JudgeRun } from './grading.js';

/** One of the modules that an exercise asks for, after its build. */
export interface BuiltModule {
  readonly name: string;
  /** Whether it was handed in and builds, judged. */
  readonly build: GradedCheck;
  /** Host path; absent when there is nothing to load. */
  readonly ko?: string;
  /** Its C sources and headers, by path as the compiler names them. */
  readonly texts: ReadonlyMap<string, string>;
  /** Its makefiles, ours included. */
  readonly makefiles: ReadonlyMap<string, string>;
  readonly warnings: readonly Diagnostic[];
  readonly notes: readonly string[];
}

/** Builds a module of a hand-in in a jail against the lab's kernel. Throws only what is not the student's doing. */
export async function buildHandedIn(
  rule: ModuleRule,
  { modules = {}, problems }: Pick<Submission, 'modules' | 'problems'>,
  linux: Kernel,
  run: JudgeRun,
): Promise<BuiltModule> {
  const { name } = rule;
  const loose = modules[name];
  const none = { name, texts: EMPTY, makefiles: EMPTY, warnings: [], notes: [] };
  if (loose === undefined)
    return {
      ...none,
      build: missing(
        name,
        problems.map(({ fact }) => fact),
      ),
    };
  const what = { id: `${name}-builds`, title: `the module ${name} builds`, on: 'build', duration: 0 };
  const read = await readFiles(loose);
  const { dir, files, folder = '' } = loose;
  try {
    const request = { linux, dir, folder, files };
    const { modules: made, warnings } = await run.stages.run(`build-${name}`, `Build ${name}`, () =>
      buildSubmittedModule(request, run),
    );
    const ko = choose(builtName(rule), made);
    const evidence = [`proof: ${basename(ko)} was built for Linux ${linux.release}`, ...listed(warnings)];
    const others = made.filter((path) => path !== ko).map((path) => basename(path));
    const notes = others.length === 0 ? [] : [`${others.join(', ')} was built as well, and left aside`];
    return { name, build: { ...what, outcome: 'passed', evidence }, ko, ...read, warnings, notes };
  } catch (error) {
    if (!(error instanceof LabError) || error.blame !== 'submission') throw error;
    const { fact = error.message, hint = error.next } = explainBuild(error.evidence) ?? {};
    const outcome = error.code === 'run/timeout' ? 'timed-out' : 'failed';
    const evidence = fact === error.message ? error.evidence : [error.message, ...error.evidence];
    return {
      ...none,
      ...read,
      build: { ...what, outcome, blame: 'submission', fact, hint, evidence },
    };
  }
}

function missing(name: string, evidence: readonly string[]): GradedCheck {
  return {
    ...{ id: `${name}-builds`, title: `the module ${name} builds`, on: 'hand-in', duration: 0 },
    ...{ outcome: 'failed', blame: 'submission', evidence },
    fact: `no module ${name} was found in the hand-in`,
    hint: `hand in its sources and a makefile with the line: obj-m += ${name}.o`,
  };
}

const EMPTY: ReadonlyMap<string, string> = new Map();

async function readFiles({ dir, files }: LooseModule): Promise<Pick<BuiltModule, 'texts' | 'makefiles'>> {
  const all = files.map(async (path) => [path, await readFile(join(dir, path), 'latin1')] as const);
  const known = await Promise.all(all);
  const isSource = (path: string) => /\.[chS]$/.test(path);
  return {
    texts: new Map(known.filter(([path]) => isSource(path))),
    makefiles: new Map(known.filter(([path]) => !isSource(path))),
  };
}

function choose(name: string, made: readonly string[]): string {
  const exact = made.find((path) => moduleName(basename(path, '.ko')) === name);
  return exact ?? (made[0] as string);
}

function listed(warnings: readonly Diagnostic[]): string[] {
  return warnings.length === 0 ? [] : [`with ${warnings.length} warnings`, ...formatDiagnostics(warnings)];
}
