import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { unpack } from '../host/archive.js';
import { type RunOptions, type RunResult, run } from '../host/run.js';
import { type Jail, openJail } from './jail.js';

export type JailedRunOptions = Omit<RunOptions, 'cwd' | 'env' | 'input' | 'nice'> & {
  /** Files and folders, relative to the overlaid tree, that are copied out when the command has ended. */
  readonly extract?: { readonly paths: readonly string[]; readonly to: string };
};

/** Printed by a build that is in order: a few hundred kilobytes. */
const MAX_OUTPUT = 32 * 1024 ** 2;

/**
 * Runs a command in a jail of its own to its end; nothing of it is left. What is extracted are regular files and
 * folders only, whatever the code inside made of those names; missing ones are left out.
 *
 * @throws LabError as `run` does, and `archive/unsafe` when a link or device lies where a file is expected.
 */
export async function runJailed(
  jail: Jail,
  command: readonly [string, ...string[]],
  { extract, ...options }: JailedRunOptions,
): Promise<RunResult> {
  const aside = await mkdtemp(join(tmpdir(), 'lab-out-'));
  const out = join(aside, 'out.tar');
  await writeFile(out, '');
  const limited = { maxOutput: MAX_OUTPUT, ...options };
  try {
    await using open = await openJail(jail, extract?.paths);
    const [file = '', ...prefix] = open.prefix;
    const args = extract === undefined ? command : [out, ...command];
    const result = await run(file, [...prefix, ...args], limited);
    const signal = options.signal ?? new AbortController().signal;
    if (extract !== undefined) await unpack(out, extract.to, { signal });
    return result;
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}
