import { dirname } from 'node:path';
import { run } from '../host/run.js';
import { HANDED_IN, type MakeOptions } from './fixture-entry.js';

/** Runs git without the user's settings, always at the same time and as the same person. */
export async function git(
  cwd: string,
  args: readonly string[],
  { signal, timeouts }: MakeOptions,
): Promise<string> {
  const who = { NAME: 'Ana Student', EMAIL: 'ana@example.org', DATE: HANDED_IN.toISOString() };
  const person = (role: string) => Object.entries(who).map(([key, value]) => [`GIT_${role}_${key}`, value]);
  const env = {
    ...Object.fromEntries([...person('AUTHOR'), ...person('COMMITTER')]),
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CEILING_DIRECTORIES: dirname(cwd),
    GIT_DIR: undefined,
    GIT_WORK_TREE: undefined,
    GIT_INDEX_FILE: undefined,
    LC_ALL: 'C',
    TZ: 'UTC',
  };
  const fixed = ['-c', 'core.abbrev=10', '-c', 'init.defaultBranch=main'];
  const options = { cwd, env, signal, timeout: timeouts.hostTool, accept: args[0] === 'diff' ? [0, 1] : [0] };
  return (await run('git', [...fixed, ...args], options)).stdout;
}
