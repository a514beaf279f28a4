import { chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { withLock } from '../host/lock.js';
import { cacheRoot } from '../host/paths.js';
import { run } from '../host/run.js';
import { digestJson, type Json } from '../host/store.js';
import { compilerVersion } from './compile.js';
import { configurationOf, type LinuxRequest, withBuiltLinux } from './linux.js';
import { extraFlags, type QemuRequest, withBuiltQemu } from './qemu.js';
import { describeContributions } from './tree.js';
import type { BuildContext, WorkTree } from './worktree.js';

/**
 * A built tree with a solution or a skeleton of ours in it, frozen. A submission is built on an overlay of it: whatever
 * the submission has in common with it (configuration, Kconfig symbols, build files) is built already.
 */
export interface Seed {
  /** Holds `src/` and `build/`. Never written to; what is in `build/` may be written through an overlay by anybody. */
  readonly dir: string;
  /** Where it was built. Build files hold this path, so it has to be seen there. */
  readonly at: string;
  /** Paths of `src/` in which it differs from the pristine source. */
  readonly contributed: readonly string[];
  /** The unpacked source. */
  readonly pristine: string;
  readonly version: string;
  readonly digest: string;
}

/** Changes when seeds are made in another way from the same inputs. */
const RECIPE = 2;

/** QEMU, configured and built with `request.contributions`. */
export async function seedQemu(request: QemuRequest, context: BuildContext): Promise<Seed> {
  const key = { flags: await extraFlags(request) };
  return await seed('qemu', request, key, context, (log, use) => withBuiltQemu(request, log, context, use));
}

/** Linux, configured and built with `request.contributions`. */
export async function seedLinux(request: LinuxRequest, context: BuildContext): Promise<Seed> {
  const key = { config: await configurationOf(request) };
  return await seed('linux', request, key, context, (log, use) => withBuiltLinux(request, log, context, use));
}

/** Where seeds live. Each may be deleted while no grading runs. */
export function seedsRoot(): string {
  return join(cacheRoot(), 'seeds');
}

async function seed(
  project: 'qemu' | 'linux',
  { source, contributions }: Pick<QemuRequest, 'source' | 'contributions'>,
  key: Json,
  context: BuildContext,
  build: (log: string, use: (tree: WorkTree) => Promise<Seed>) => Promise<Seed>,
): Promise<Seed> {
  const digest = digestJson({
    recipe: RECIPE,
    project,
    source: source.digest,
    key,
    contributions: await describeContributions(contributions),
    compiler: await compilerVersion(context),
  });
  await mkdir(seedsRoot(), { recursive: true });
  await chmod(seedsRoot(), 0o700); // their files may be written by anybody who gets there
  const dir = join(seedsRoot(), `${project}-${digest.slice(0, 16)}`);
  const { signal } = context.step;
  return await withLock(`${dir}.lock`, { signal }, async () => {
    const known = await readFile(join(dir, 'seed.json'), 'utf8').catch(() => undefined);
    if (known !== undefined) return JSON.parse(known) as Seed;
    return await build(`${dir}.log`, async (tree) => {
      const made = {
        dir,
        at: tree.dir,
        contributed: [...tree.contributed.keys()].sort(),
        pristine: source.tree,
        version: source.version,
        digest,
      };
      await freeze(tree, made, context);
      return made;
    });
  });
}

/** Sources are linked: the work tree replaces files instead of writing into them. Build products are copied. */
async function freeze(tree: WorkTree, made: Seed, { step, timeouts }: BuildContext): Promise<void> {
  const aside = `${made.dir}.part`;
  const options = { signal: step.signal, timeout: timeouts.build };
  await rm(aside, { recursive: true, force: true });
  await mkdir(aside, { recursive: true });
  await run('cp', ['-al', '-T', tree.src, join(aside, 'src')], options);
  await run('cp', ['-a', '-T', '--reflink=auto', tree.build, join(aside, 'build')], options);
  await run('chmod', ['-R', 'a+rwX', join(aside, 'build')], options);
  await writeFile(join(aside, 'seed.json'), JSON.stringify(made));
  await rm(made.dir, { recursive: true, force: true });
  await rename(aside, made.dir);
}
