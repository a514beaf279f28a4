import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../host/paths.js';
import { run } from '../host/run.js';
import { digestJson, getOrMake, type Json } from '../host/store.js';
import { compilationOf, compile, compilerVersion } from './compile.js';
import type { Contribution } from './contribution.js';
import type { Diagnostic } from './diagnostics.js';
import { countFinished, dropUnfinished } from './kbuild-repair.js';
import { copyModuleTree } from './kbuild-tree.js';
import {
  checkKconfig,
  definedSymbols,
  formatKconfig,
  isKconfigFile,
  type Kconfig,
  mergeKconfig,
  parseKconfig,
} from './kconfig.js';
import type { Kernel } from './kernel.js';
import { describeContributions } from './tree.js';
import { keepWarnings, readWarnings } from './warnings.js';
import {
  type BuildContext,
  type SourceTree,
  touchContributed,
  type WorkTree,
  withWorkTree,
} from './worktree.js';

/** `lab`: small, boots fast, made for the machine profiles. `defconfig`: x86_64_defconfig and what the guest needs. */
export type LinuxConfig = 'lab' | 'defconfig';

export interface LinuxRequest {
  readonly source: SourceTree;
  readonly config: LinuxConfig;
  /** Host paths of kernel configuration fragments that are added to it; later ones win. */
  readonly fragments?: readonly string[];
  /** The same for what changes how everything is compiled, as KASAN does: such a kernel gets a work tree of its own. */
  readonly instrumentation?: readonly string[];
  readonly contributions: readonly Contribution[];
}

/** A kernel as built. */
export interface Linux extends Kernel {
  readonly bzImage: string;
}

/** Changes when this file builds something else from the same inputs. */
const RECIPE = 1;

/** The same inputs give the same bytes: no time, no user, no host, no state of a git repository around the tree. */
export const REPRODUCIBLE = {
  KBUILD_BUILD_TIMESTAMP: 'Thu Jan  1 00:00:00 UTC 1970',
  KBUILD_BUILD_VERSION: '1',
  KBUILD_BUILD_USER: 'lab',
  KBUILD_BUILD_HOST: 'lab',
  LOCALVERSION: '',
};

/**
 * Lines that `make` prints when it builds the `lab` configuration of Linux 6.12 from nothing; 6.6 prints a little more.
 * kbuild knows no total, so progress is measured against this one; for `defconfig` none has been counted.
 */
const USUAL_LINES: Readonly<Record<LinuxConfig, number | undefined>> = { lab: 1900, defconfig: undefined };

/**
 * Linux for x86_64 from `source` with `contributions`: from the cache, or built in a persistent work tree.
 *
 * @throws LabError `build/kconfig` when the configuration loses a wanted symbol, `build/compile`, `build/anchor`,
 *   `build/patch`, `build/failed`, and what the store, the lock and the process runner throw.
 */
export async function buildLinux(request: LinuxRequest, context: BuildContext): Promise<Linux> {
  const { source, contributions } = request;
  const compiler = await compilerVersion(context);
  const artifact = await getOrMake({
    kind: 'linux',
    inputs: {
      recipe: RECIPE,
      source: source.digest,
      version: source.version,
      config: request.config,
      wanted: await configurationOf(request),
      contributions: await describeContributions(contributions),
      compiler,
    },
    signal: context.step.signal,
    onWait: () => context.step.note('another command is building the same Linux; waiting for it'),
    make: (dir, log) =>
      withBuiltLinux(request, log, context, async (tree, warnings, make) => {
        await collect(tree, dir, log, make, context);
        await keepWarnings(dir, warnings);
      }),
  });
  return await describe(artifact, source.version);
}

/**
 * Calls `use` with a work tree in which Linux has just been built, while nobody else uses the tree.
 *
 * @throws LabError `build/kconfig`, `build/compile`, `build/anchor`, `build/patch`, `build/failed`.
 */
export async function withBuiltLinux<T>(
  request: LinuxRequest,
  log: string,
  context: BuildContext,
  use: (tree: WorkTree, warnings: readonly Diagnostic[], make: Make) => Promise<T>,
): Promise<T> {
  const { source, config, contributions } = request;
  const instrumentation = request.instrumentation ?? [];
  const plain = { recipe: RECIPE, config, compiler: await compilerVersion(context) };
  const texts = await Promise.all(instrumentation.map((path) => readFile(path, 'utf8')));
  const key = texts.length === 0 ? plain : { ...plain, instrumentation: texts };
  const what = `Linux ${source.version}`;
  return await withWorkTree({ source, key, contributions }, context, async (tree) => {
    const make = kernelMake(tree, what, log, context);
    if (tree.interrupted) await dropUnfinished(tree.build);
    await configure(tree, config, await wantedConfig(request), what, make);
    return await use(tree, await build(tree, config, make, context), make);
  });
}

async function describe(
  artifact: { digest: string; dir: string; fresh: boolean },
  version: string,
): Promise<Linux> {
  const { dir } = artifact;
  return {
    ...artifact,
    version,
    bzImage: join(dir, 'bzImage'),
    vmlinux: join(dir, 'vmlinux'),
    config: join(dir, 'config'),
    release: (await readFile(join(dir, 'release'), 'utf8')).trim(),
    modules: join(dir, 'modules'),
    kbuild: join(dir, 'kbuild'),
    needsInitrd: false,
    warnings: await readWarnings(dir),
  };
}

interface WantedConfig {
  /** Each of these has to survive. */
  readonly must: Kconfig;
  /** Those that some supported versions no longer have. */
  readonly may: Kconfig;
}

/** All symbols that decide the configuration, as text for a key. */
export async function configurationOf(request: ConfigurationRequest): Promise<string> {
  const { must, may } = await wantedConfig(request);
  return `${request.config}\n${formatKconfig(mergeKconfig(must, may))}`;
}

type ConfigurationRequest = Pick<LinuxRequest, 'config' | 'fragments' | 'instrumentation'>;

async function wantedConfig({
  config,
  fragments = [],
  instrumentation = [],
}: ConfigurationRequest): Promise<WantedConfig> {
  const ours = (name: string) => join(packageRoot, 'vm/kernel', name);
  const read = async (path: string) => parseKconfig(await readFile(path, 'utf8'));
  const base = await read(ours(config === 'lab' ? 'lab.config' : 'needed.config'));
  const must = mergeKconfig(base, ...(await Promise.all([...fragments, ...instrumentation].map(read))));
  return { must, may: await read(ours('older.config')) };
}

type Make = (args: readonly string[], onLine?: (line: string) => void) => Promise<Diagnostic[]>;

function kernelMake(tree: WorkTree, what: string, log: string, { step, timeouts }: BuildContext): Make {
  const compilation = compilationOf(what, tree);
  const env = {
    ...REPRODUCIBLE,
    KCONFIG_ALLCONFIG: join(tree.dir, 'wanted.config'),
    // Kconfig asks for every compiler it can find, so a Rust of the user's own would count as configuration
    PATH: '/usr/bin:/bin:/usr/sbin:/sbin',
  };
  return async (args, onLine = () => {}) => {
    const options = {
      cwd: tree.build,
      env,
      log,
      signal: step.signal,
      timeout: timeouts.build,
      onLine: (line: string) => {
        step.output(line);
        onLine(line);
      },
    };
    return await compile('make', ['-C', tree.src, `O=${tree.build}`, ...args], options, compilation);
  };
}

/** Runs kconfig, unless neither what is wanted nor any Kconfig file has changed since it last ran. */
async function configure(
  tree: WorkTree,
  config: LinuxConfig,
  { must, may }: WantedConfig,
  what: string,
  make: Make,
): Promise<void> {
  const defconfig = join(tree.src, 'arch/x86/configs/x86_64_defconfig');
  const base = config === 'lab' ? '' : await readFile(defconfig, 'utf8');
  const text = formatKconfig(mergeKconfig(parseKconfig(base), may, must));
  const key = digestJson({ text, source: tree.source, kconfig: await kconfigFiles(tree) });
  const stamp = join(tree.dir, 'configured');
  if ((await readFile(stamp, 'utf8').catch(() => '')) === key) return;
  await rm(stamp, { force: true });
  await writeFile(join(tree.dir, 'wanted.config'), text);
  await make([config === 'lab' ? 'allnoconfig' : 'alldefconfig']);
  if (config === 'lab') await defaultContributed(tree, parseKconfig(text), make);
  checkKconfig(must, parseKconfig(await readFile(join(tree.build, '.config'), 'utf8')), what);
  await writeFile(stamp, key);
}

/**
 * Symbols that a contribution adds take their own defaults, as they would after x86_64_defconfig; allnoconfig alone
 * would turn them off, and a driver with `default y` would silently be left out.
 */
async function defaultContributed(tree: WorkTree, decided: Kconfig, make: Make): Promise<void> {
  const added = await addedSymbols(tree);
  for (const name of decided.keys()) added.delete(name);
  if (added.size === 0) return;
  const path = join(tree.build, '.config');
  const chosen = [...parseKconfig(await readFile(path, 'utf8'))].filter(([name]) => !added.has(name));
  await writeFile(path, formatKconfig(new Map(chosen)));
  await make(['olddefconfig']);
}

async function addedSymbols({ src, pristine, contributed }: WorkTree): Promise<Set<string>> {
  const added = new Set<string>();
  for (const path of [...contributed.keys()].filter(isKconfigFile)) {
    const [before, after] = await Promise.all([symbolsIn(join(pristine, path)), symbolsIn(join(src, path))]);
    for (const name of after) if (!before.has(name)) added.add(name);
  }
  return added;
}

async function symbolsIn(path: string): Promise<Set<string>> {
  return definedSymbols(await readFile(path, 'utf8').catch(() => ''));
}

/** The contributed files that describe symbols; those of the source itself change with its digest. */
async function kconfigFiles({ src, contributed }: WorkTree): Promise<Json> {
  const paths = [...contributed.keys()].filter(isKconfigFile).sort();
  return await Promise.all(
    paths.map(async (path) => [path, await readFile(join(src, path), 'utf8').catch(() => '')]),
  );
}

async function build(
  tree: WorkTree,
  config: LinuxConfig,
  make: Make,
  { step }: BuildContext,
): Promise<Diagnostic[]> {
  const once = join(tree.dir, 'built');
  const first = (await readFile(once, 'utf8').catch(() => undefined)) === undefined;
  // after the first build only a few files are compiled, and nothing tells beforehand how many
  const total = first ? USUAL_LINES[config] : undefined;
  let done = first ? await countFinished(tree.build) : 0;
  await touchContributed(tree);
  // -O keeps the lines of one compiler run together
  const warnings = await make([`-j${availableParallelism()}`, '-Otarget', 'bzImage', 'modules'], (line) => {
    if (!/^ {2}[A-Z]/.test(line)) return;
    done += 1;
    step.progress(done, total === undefined || done > total ? undefined : total, 'steps');
  });
  await writeFile(once, '');
  return warnings;
}

async function collect(
  tree: WorkTree,
  dir: string,
  log: string,
  make: Make,
  { step, timeouts }: BuildContext,
): Promise<void> {
  const { build, src } = tree;
  const options = { log, signal: step.signal, timeout: timeouts.smallBuild };
  await copyFile(join(build, 'arch/x86/boot/bzImage'), join(dir, 'bzImage'));
  await copyFile(join(build, '.config'), join(dir, 'config'));
  await copyFile(join(build, 'include/config/kernel.release'), join(dir, 'release'));
  await run('objcopy', ['--strip-debug', join(build, 'vmlinux'), join(dir, 'vmlinux')], options);
  await make([`INSTALL_MOD_PATH=${join(dir, 'modules')}`, 'INSTALL_MOD_STRIP=1', 'modules_install']);
  const release = (await readFile(join(dir, 'release'), 'utf8')).trim();
  // links to the work tree would point nowhere in a guest
  for (const link of ['build', 'source'])
    await rm(join(dir, 'modules/lib/modules', release, link), { force: true });
  await mkdir(join(dir, 'kbuild'));
  await copyModuleTree({ src, build }, join(dir, 'kbuild'), options);
}
