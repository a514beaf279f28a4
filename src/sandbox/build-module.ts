import { chmod, cp, mkdir, readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Compilation, diagnosed } from '../build/compile.js';
import type { Diagnostic } from '../build/diagnostics.js';
import type { Linux } from '../build/linux.js';
import { keepWarnings, readWarnings } from '../build/warnings.js';
import type { BuildContext } from '../build/worktree.js';
import { LabError } from '../errors.js';
import { digestFile, getOrMake } from '../host/store.js';
import { buildLimits } from './limits.js';
import { runJailed } from './run.js';
import { makeStage } from './stage.js';
import { chargeSubmission, MAX_WARNINGS } from './submitted.js';

/** Loadable modules of a submission. Only to be inserted in a guest that runs in a jail. */
export interface SubmittedModule {
  /** Host paths of all `.ko` files that its makefile makes. */
  readonly modules: readonly string[];
  readonly warnings: readonly Diagnostic[];
  readonly digest: string;
  readonly dir: string;
  readonly fresh: boolean;
}

export interface SubmittedModuleRequest {
  readonly linux: Pick<Linux, 'kbuild' | 'release' | 'digest'>;
  /** Folder with its sources. */
  readonly dir: string;
  /** Folder in it with the makefile; default its own. */
  readonly folder?: string;
  readonly files: readonly string[];
}

/** Where the sources are seen inside: places in diagnostics and crash reports begin with it. */
export const MODULE_AT = '/submission';

/** Changes when this file builds something else from the same inputs. */
const RECIPE = 2;

/**
 * Builds an out-of-tree module in a jail against a kernel's build tree.
 *
 * @throws LabError `build/compile`, `build/failed`, `build/no-module`, `run/timeout`, `run/output`, all blamed on the
 *   submission.
 */
export async function buildSubmittedModule(
  { linux, dir, folder = '', files }: SubmittedModuleRequest,
  context: BuildContext,
): Promise<SubmittedModule> {
  const sources = await Promise.all(
    files.map(async (name) => [name, await digestFile(join(dir, name))] as const),
  );
  const artifact = await getOrMake({
    kind: 'submitted-module',
    inputs: { recipe: RECIPE, linux: linux.digest, folder, sources: Object.fromEntries(sources) },
    signal: context.step.signal,
    make: async (to, log) => {
      await keepWarnings(to, await make({ linux, dir, folder, files }, join(to, 'out'), log, context));
      if ((await modulesIn(to)).length === 0) throw noModule();
    },
  });
  return { ...artifact, modules: await modulesIn(artifact.dir), warnings: await readWarnings(artifact.dir) };
}

async function make(
  { linux, dir, folder, files }: Required<SubmittedModuleRequest>,
  out: string,
  log: string,
  { step, timeouts }: BuildContext,
): Promise<Diagnostic[]> {
  await mkdir(out);
  const lower = await makeStage('module');
  try {
    for (const name of files) await cp(join(dir, name), join(lower, name));
    // the jail has a user id of its own
    for (const path of new Set(files.map((name) => dirname(name))))
      if (path !== '.') await chmod(join(lower, path), 0o777);
    const jail = {
      overlay: { lower, at: MODULE_AT },
      readOnly: [{ from: linux.kbuild }],
      cwd: MODULE_AT,
      limits: buildLimits,
    };
    const extract = { paths: ['.'], to: out };
    const options = { timeout: timeouts.submittedKernel, signal: step.signal, log, extract };
    // with line numbers, so that an oops can be traced to its line
    const command = [
      'make',
      '-C',
      linux.kbuild,
      `M=${join(MODULE_AT, folder)}`,
      'KCFLAGS=-g',
      'modules',
    ] as const;
    const warnings = await diagnosed(
      (onLine) => runJailed(jail, [...command], { ...options, onLine }),
      compilation(files),
      (line) => step.output(line),
    );
    return warnings.slice(0, MAX_WARNINGS);
  } catch (error) {
    throw chargeSubmission(error);
  } finally {
    await rm(lower, { recursive: true, force: true });
  }
}

function compilation(files: readonly string[]): Compilation {
  const name = (path: string) => (path.startsWith(`${MODULE_AT}/`) ? path.slice(MODULE_AT.length + 1) : path);
  return {
    what: 'the module',
    otherwise: 'submission',
    locate: (path) => name(path).replace(/\.o$/, '.c'),
    owner: (path) =>
      files.includes(path) || files.includes(basename(path)) ? { path, blame: 'submission' } : undefined,
  };
}

async function modulesIn(dir: string): Promise<string[]> {
  const entries = await readdir(join(dir, 'out'), { recursive: true }).catch(() => []);
  return entries
    .filter((name) => name.endsWith('.ko'))
    .sort()
    .map((name) => join(dir, 'out', name));
}

function noModule(): LabError {
  return new LabError({
    code: 'build/no-module',
    blame: 'submission',
    fact: 'the makefile built no module at all',
    next: 'let the makefile, or a file Kbuild, hold a line such as obj-m += my_module.o',
  });
}
