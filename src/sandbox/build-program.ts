import { access, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Compilation, diagnosed } from '../build/compile.js';
import type { Diagnostic } from '../build/diagnostics.js';
import type { BuildContext } from '../build/worktree.js';
import { runJailed } from './run.js';
import { buildLimits } from './limits.js';
import { chargeSubmission } from './submitted.js';

/**
 * Compiles a submission's program, one C file, to a static executable `to` in a jail.
 *
 * @returns the compiler's warnings.
 * @throws LabError `build/compile`, `build/failed`, … blamed on the submission.
 */
export async function buildSubmittedProgram(
  source: string,
  to: string,
  log: string,
  { step, timeouts }: BuildContext,
): Promise<Diagnostic[]> {
  const at = '/submission';
  const name = 'program.c';
  const compilation: Compilation = {
    what: 'the application',
    otherwise: 'submission',
    locate: (path) => path.replace(`${at}/`, ''),
    owner: (path) => (path === name ? { path: 'the application', blame: 'submission' } : undefined),
  };
  const jail = {
    overlay: { lower: await emptyFolder(dirname(to)), at, edits: { put: [{ from: source, to: name }], remove: [] } },
    cwd: at,
    limits: buildLimits,
  };
  const extract = { paths: ['out'], to: dirname(to) };
  const options = { timeout: timeouts.smallBuild, signal: step.signal, log, extract };
  const script = `mkdir out && gcc -static -O2 -Wall -pthread -o out/program ${name} -lm`;
  try {
    const warnings = await diagnosed(
      (onLine) => runJailed(jail, ['/bin/sh', '-euc', script], { ...options, onLine }),
      compilation,
      undefined,
    );
    await access(join(dirname(to), 'out/program'));
    return warnings;
  } catch (error) {
    throw chargeSubmission(error);
  }
}

async function emptyFolder(parent: string): Promise<string> {
  const dir = join(parent, 'empty');
  await mkdir(dir, { recursive: true });
  return dir;
}
