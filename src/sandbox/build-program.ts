import { access, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Compilation, diagnosed } from '../build/compile.js';
import type { Diagnostic } from '../build/diagnostics.js';
import type { BuildContext } from '../build/worktree.js';
import { buildLimits } from './limits.js';
import { runJailed } from './run.js';
import { chargeSubmission, MAX_WARNINGS } from './submitted.js';

/** A submission's application. Only to be run in a guest. */
export interface SubmittedProgram {
  readonly program: string;
  readonly warnings: readonly Diagnostic[];
}

/**
 * Compiles a submission's program, one C file, to a static executable in the folder `dir`, in a jail.
 *
 * @throws LabError `build/compile`, `build/failed`, … blamed on the submission.
 */
export async function buildSubmittedProgram(
  source: string,
  dir: string,
  { step, timeouts }: BuildContext,
): Promise<SubmittedProgram> {
  const at = '/submission';
  const name = 'program.c';
  const compilation: Compilation = {
    what: 'the application',
    otherwise: 'submission',
    locate: (path) => path.replace(`${at}/`, ''),
    owner: (path) => (path === name ? { path: 'the application', blame: 'submission' } : undefined),
  };
  const jail = {
    overlay: { lower: await emptyFolder(dir), at, edits: { put: [{ from: source, to: name }], remove: [] } },
    cwd: at,
    limits: buildLimits,
  };
  const extract = { paths: ['out'], to: dir };
  const log = join(dir, 'build.log');
  const options = { timeout: timeouts.smallBuild, signal: step.signal, log, extract };
  const script = `mkdir out && gcc -static -O2 -Wall -pthread -o out/program ${name} -lm`;
  try {
    const warnings = await diagnosed(
      (onLine) => runJailed(jail, ['/bin/sh', '-euc', script], { ...options, onLine }),
      compilation,
      undefined,
    );
    const program = join(dir, 'out/program');
    await access(program);
    return { program, warnings: warnings.slice(0, MAX_WARNINGS) };
  } catch (error) {
    throw chargeSubmission(error);
  }
}

async function emptyFolder(parent: string): Promise<string> {
  const dir = join(parent, 'empty');
  await mkdir(dir, { recursive: true });
  return dir;
}
