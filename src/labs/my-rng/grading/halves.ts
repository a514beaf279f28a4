import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Diagnostic } from '../../../build/diagnostics.js';
import { formatDiagnostics } from '../../../build/diagnostics.js';
import { LabError } from '../../../errors.js';
import type { GradedCheck } from '../../../grade/grade-report.js';
import type { JudgeRun } from '../../../grade/grading.js';
import { fit as fitPart } from '../../../intake/fit.js';
import type { Fit, Part, Project, Submission } from '../../../intake/submission.js';
import type { SubmittedLinux } from '../../../sandbox/build-linux.js';
import { buildSubmittedLinux } from '../../../sandbox/build-linux.js';
import { buildSubmittedModule } from '../../../sandbox/build-module.js';
import type { SubmittedQemu } from '../../../sandbox/build-qemu.js';
import { buildSubmittedQemu } from '../../../sandbox/build-qemu.js';
import type { Foundation } from './bench.js';

/** One half of a submission after its patch was applied and its code was built. */
export interface Half<T> {
  /** How its patch applies, judged. */
  readonly apply: GradedCheck;
  /** Whether it builds, judged. */
  readonly build: GradedCheck;
  /** What was built; absent when there is nothing to run. */
  readonly built?: T;
  readonly fit?: Fit;
  /** Texts of what is not part of a tree, by name: the sources of a loose module. */
  readonly sources?: ReadonlyMap<string, string>;
  readonly warnings: readonly Diagnostic[];
  readonly notes: readonly string[];
}

/** A driver, in the kernel or as modules of it. */
export interface Driver {
  readonly vmlinux: string;
  readonly release: string;
  /** Host paths of modules, in the order in which they are inserted; empty when it is built in. */
  readonly modules: readonly string[];
  readonly linux?: SubmittedLinux;
  /** Changes with everything that it was built from. */
  readonly digest: string;
}

/** The device half: QEMU with the submission's patch. */
export async function deviceHalf(
  { parts, problems }: Submission,
  foundation: Foundation,
  run: JudgeRun,
): Promise<Half<SubmittedQemu>> {
  const part = parts.qemu;
  const tree = foundation.sources.qemu.tree;
  const fitted = part === undefined ? undefined : await fittedOf(part, tree, run);
  const apply = applyCheck('qemu', part, fitted, problems);
  if (fitted === undefined) return { apply, build: nothing('QEMU', 'device'), warnings: [], notes: [] };
  const what = { id: 'device-builds', title: 'QEMU builds with the device' };
  return await run.stages.run('build-device', 'Build QEMU with the device', async () => {
    try {
      const request = { seed: foundation.qemuSeed, files: fitted.files, reference: foundation.qemu };
      const built = await buildSubmittedQemu(request, run);
      const build = passed(what, [`QEMU ${built.version} was built`, ...listed(built.warnings)]);
      return { apply, build, built, fit: fitted, warnings: built.warnings, notes: [] };
    } catch (error) {
      return { apply, build: chargedOf(what, error), fit: fitted, warnings: [], notes: [] };
    }
  });
}

/** The driver half: a kernel with the submission's patch, or a module for the plain kernel, or both. */
export async function driverHalf(
  submission: Submission,
  foundation: Foundation,
  run: JudgeRun,
): Promise<Half<Driver>> {
  const part = submission.parts.linux;
  const fitted = part === undefined ? undefined : await fittedOf(part, foundation.sources.linux.tree, run);
  const apply = applyCheck('linux', part, fitted, submission.problems);
  const base = { apply, ...(fitted === undefined ? {} : { fit: fitted }) };
  const inKernel =
    fitted !== undefined && [...fitted.files.keys()].some((path) => /^drivers\/.*\.c$/.test(path));
  return await run.stages.run('build-driver', 'Build the driver', async () => {
    if (fitted !== undefined && (inKernel || submission.module === undefined)) {
      return { ...base, ...(await kernelWith(fitted, foundation, run)) };
    }
    if (submission.module === undefined) {
      return { ...base, build: nothing('Linux', 'driver'), warnings: [], notes: [] };
    }
    return { ...base, ...(await moduleFor(submission.module, foundation, run)) };
  });
}

type Built = Pick<Half<Driver>, 'build' | 'built' | 'warnings' | 'notes' | 'sources'>;

async function kernelWith({ files }: Fit, foundation: Foundation, run: JudgeRun): Promise<Built> {
  const what = { id: 'driver-builds', title: 'Linux builds with the driver' };
  try {
    const linux = await buildSubmittedLinux({ seed: foundation.linuxSeed, files }, run);
    const { vmlinux, release, modules, warnings, notes } = linux;
    const proof = [
      `Linux ${release} was built`,
      ...modules.map((path) => `module ${nameOf(path)}`),
      ...listed(warnings),
    ];
    return {
      build: passed(what, proof),
      built: { vmlinux, release, modules, linux, digest: linux.digest },
      warnings,
      notes,
    };
  } catch (error) {
    return { build: chargedOf(what, error), warnings: [], notes: [] };
  }
}

async function moduleFor(
  { dir, files }: NonNullable<Submission['module']>,
  { linux }: Foundation,
  run: JudgeRun,
): Promise<Built> {
  const what = { id: 'driver-builds', title: 'the module builds' };
  const texts = files.map(async (name) => [name, await readFile(join(dir, name), 'latin1')] as const);
  const sources = new Map(await Promise.all(texts));
  try {
    const { modules, warnings, digest } = await buildSubmittedModule({ linux, dir, files }, run);
    const proof = [...modules.map((path) => `${nameOf(path)} was built`), ...listed(warnings)];
    const built = { vmlinux: linux.vmlinux, release: linux.release, modules, digest };
    const notes = [`the driver was built as a module for ${linux.release}`];
    return { build: passed(what, proof), built, warnings, notes, sources };
  } catch (error) {
    return { build: chargedOf(what, error), warnings: [], notes: [], sources };
  }
}

function nameOf(path: string): string {
  return path.split('/').at(-1) ?? path;
}

async function fittedOf(part: Part, tree: string, { stages, signal, timeouts }: JudgeRun): Promise<Fit> {
  const title = `Apply the patch to ${part.project === 'qemu' ? 'QEMU' : 'Linux'}`;
  return await stages.run(`apply-${part.project}`, title, () => fitPart(part, tree, { signal, timeouts }));
}

const NAMES: Readonly<Record<Project, string>> = { qemu: 'QEMU', linux: 'Linux' };

/** Line numbers that are off are the other version's doing; a patch that does not fit is not. */
function applyCheck(
  project: Project,
  part: Part | undefined,
  fitted: Fit | undefined,
  problems: Submission['problems'],
): GradedCheck {
  const what = { id: `${project}-patch`, title: `the patch for ${NAMES[project]} applies` };
  const base = { ...what, on: `pristine ${NAMES[project]} source`, duration: 0 };
  if (part === undefined || fitted === undefined) {
    return {
      ...base,
      ...{ outcome: 'failed', blame: 'submission', evidence: problems.map(({ fact }) => fact) },
      fact: `no patch for ${NAMES[project]} that can be used was handed in`,
      hint: `hand in a patch made with diff -urN between the vanilla ${NAMES[project]} tree and yours`,
    };
  }
  const evidence = [...fitted.details, ...fitted.rejects.flatMap(({ hunk }) => hunk.split('\n'))];
  if (!part.wasPatch) {
    return {
      ...base,
      ...{ outcome: 'failed', blame: 'submission', evidence },
      fact: `loose files were handed in instead of a patch for ${NAMES[project]}`,
      hint: `the rest was graded as if they were a patch; make one with diff -urN between the vanilla tree and yours`,
    };
  }
  // on another release fewer lines of context fit, and that is not the student's doing
  const warned = fitted.kind === 'fuzz' && part.otherRelease !== true;
  if (fitted.kind === 'rejected' || warned) {
    return {
      ...base,
      ...{ outcome: 'failed', blame: 'submission', evidence },
      fact: fitted.sentence,
      hint: 'make the patch again, from a clean vanilla tree of the version that the exercise names',
    };
  }
  return { ...base, outcome: 'passed', evidence: [`proof: ${fitted.sentence}`, ...evidence] };
}

function nothing(tree: string, half: string): GradedCheck {
  return {
    ...{ id: `${half}-handed-in`, title: `a ${half} was handed in`, on: 'hand-in', duration: 0 },
    ...{ outcome: 'failed', blame: 'submission', evidence: [] },
    fact: `no ${half} was handed in`,
    hint: `hand in your ${half} as a patch for ${tree}`,
  };
}

function passed(
  what: { readonly id: string; readonly title: string },
  proof: readonly string[],
): GradedCheck {
  return {
    ...what,
    outcome: 'passed',
    evidence: proof.map((fact) => `proof: ${fact}`),
    on: 'build',
    duration: 0,
  };
}

function listed(warnings: readonly Diagnostic[]): string[] {
  return warnings.length === 0 ? [] : [`with ${warnings.length} warnings`, ...formatDiagnostics(warnings)];
}

/** What ended the build as a verdict; a fault of the host is thrown on. */
function chargedOf(what: { readonly id: string; readonly title: string }, error: unknown): GradedCheck {
  if (!(error instanceof LabError) || error.blame !== 'submission') throw error;
  return {
    ...what,
    ...{ on: 'build', duration: 0, blame: 'submission' },
    outcome: error.code === 'run/timeout' ? 'timed-out' : 'failed',
    fact: error.message,
    hint: error.next,
    evidence: error.evidence,
  };
}
