import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { run } from '../host/run.js';

export interface IgnoredOptions {
  readonly signal: AbortSignal;
  /** Milliseconds for one run of git. */
  readonly timeout: number;
}

/**
 * Which of `paths`, which a work tree has and the vanilla one has not, the `.gitignore` files of the work tree name.
 * The tree need be no repository, and one around it or in it does not count, nor do the user's own settings. Rules
 * that name folders of the vanilla tree itself, as those of Debian's packages do, are not about build products.
 *
 * @throws LabError `run/missing`, `run/failed`, `run/timeout`, `interrupted`.
 */
export async function ignoredIn(
  trees: { readonly pristine: string; readonly work: string },
  paths: readonly string[],
  options: IgnoredOptions,
): Promise<Set<string>> {
  const homes = new Map(paths.map((path) => [path, homeOf(path, trees.pristine)]));
  const asked = new Set([...paths, ...[...homes.values()].filter((home) => home !== '.')]);
  const ignored = await checkIgnore(trees.work, [...asked], options);
  return new Set(paths.filter((path) => ignored.has(path) && !ignored.has(homes.get(path) ?? '')));
}

/** The deepest folder around `path` that the vanilla tree has, too. */
function homeOf(path: string, pristine: string): string {
  const folder = dirname(path);
  return folder === '.' || existsSync(join(pristine, folder)) ? folder : homeOf(folder, pristine);
}

async function checkIgnore(
  tree: string,
  paths: readonly string[],
  { signal, timeout }: IgnoredOptions,
): Promise<Set<string>> {
  if (paths.length === 0) return new Set();
  const gitDir = await mkdtemp(join(tmpdir(), 'lab-git-'));
  try {
    const env = {
      GIT_DIR: gitDir,
      GIT_WORK_TREE: tree,
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_INDEX_FILE: undefined,
    };
    const options = { cwd: tree, env, signal, timeout };
    await run('git', ['init', '--quiet', '--bare', gitDir], {
      ...options,
      env: { ...env, GIT_WORK_TREE: undefined },
    });
    const args = [
      '-c',
      'core.bare=false',
      '-c',
      'core.excludesFile=/dev/null',
      'check-ignore',
      '--no-index',
      '-z',
    ];
    const input = paths.map((path) => `${path}\0`).join('');
    const { stdout } = await run('git', [...args, '--stdin'], { ...options, input, accept: [0, 1] });
    return new Set(stdout.split('\0').filter((path) => path !== ''));
  } finally {
    await rm(gitDir, { recursive: true, force: true });
  }
}
