import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run } from '../host/run.js';
import type { FitFile } from './submission.js';

/** What `git apply` says about a whole patch, which forgives less than patch(1). Evidence, not a verdict. */
export async function gitView(
  patch: string,
  pristine: ReadonlyMap<string, FitFile>,
  { dir, signal, timeout }: { readonly dir: string; readonly signal: AbortSignal; readonly timeout: number },
): Promise<string[]> {
  await mkdir(dir, { recursive: true });
  for (const [path, { data }] of pristine) {
    if (data === undefined) continue;
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), data);
  }
  const result = await run('git', ['apply', '--check', '-v', '-p1', '--whitespace=warn', patch], {
    cwd: dir,
    // neither a repository around the temporary folder nor anybody's settings may change the answer
    env: {
      GIT_CEILING_DIRECTORIES: dirname(dir),
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_DIR: undefined,
      GIT_WORK_TREE: undefined,
      LC_ALL: 'C',
    },
    accept: [0, 1, 128],
    signal,
    timeout,
  });
  const said = result.stderr
    .split('\n')
    .filter((line) => /^(error|warning|Hunk)/.test(line))
    .slice(0, 20);
  if (result.exitCode === 0 && said.length === 0) return ['git apply --check: fits'];
  return said.map((line) => `git apply --check: ${line}`);
}
