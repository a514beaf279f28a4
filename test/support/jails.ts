import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError } from '../../src/errors.js';
import { type RunResult, run } from '../../src/host/run.js';
import type { JailLimits } from '../../src/sandbox/limits.js';
import { type JailedRunOptions, runJailed } from '../../src/sandbox/run.js';
import type { Jail } from '../../src/sandbox/spec.js';

const MIB = 1024 ** 2;

/** Small enough to be reached in a moment. */
export const smallLimits: JailLimits = {
  memory: 96 * MIB,
  processes: 40,
  fileSize: 8 * MIB,
  scratch: 16 * MIB,
  tmp: 8 * MIB,
  cpuSeconds: 20,
};

export const TIMEOUT = 30_000;
const ANY = Array.from({ length: 256 }, (_, code) => code);

/** A tree in `dir` with a file and a folder that anybody may write, as seeds are. */
export async function makeTree(dir: string): Promise<string> {
  await mkdir(join(dir, 'build'), { recursive: true });
  await run('chmod', ['0777', join(dir, 'build')], { timeout: TIMEOUT });
  await writeFile(join(dir, 'build/old'), 'from the seed\n');
  return dir;
}

/** Runs a shell script in a jail over `lower`, whatever its exit code. */
export function inJail(
  lower: string,
  script: string,
  jail: Partial<Jail> = {},
  options: Partial<JailedRunOptions> = {},
): Promise<RunResult> {
  const whole = { overlay: { lower, at: '/tree' }, cwd: '/tree', limits: smallLimits, ...jail };
  return runJailed(whole, ['/bin/sh', '-c', script], { timeout: TIMEOUT, accept: ANY, ...options });
}

/** The control of `inJail`: the same script without any wall. */
export function outside(script: string): Promise<RunResult> {
  return run('/bin/sh', ['-c', script], { timeout: TIMEOUT, accept: ANY });
}

/** The error that something ends with. */
export async function failureOf(work: Promise<unknown>): Promise<LabError> {
  const error = await work.then(
    () => undefined,
    (reason) => reason,
  );
  if (error instanceof LabError) return error;
  throw error ?? new Error('it did not fail');
}

/** Live processes of the host whose command line holds a text. */
export function processesWith(marker: string): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(marker);
    } catch {
      return false; // it has just ended
    }
  });
}
