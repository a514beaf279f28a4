import { access, mkdir, readdir, readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, dirname, join } from 'node:path';
import type { Diagnostic } from '../build/diagnostics.js';
import { formatKconfig, parseKconfig } from '../build/kconfig.js';
import { REPRODUCIBLE } from '../build/linux.js';
import type { Seed } from '../build/seed.js';
import { readTreeFile } from '../build/tree.js';
import { keepWarnings, readWarnings } from '../build/warnings.js';
import type { BuildContext } from '../build/worktree.js';
import { LabError } from '../errors.js';
import { quote } from '../host/run.js';
import { getOrMake } from '../host/store.js';
import { buildOnSeed, chargeSubmission, digestSubmitted, type SubmittedFiles } from './submitted.js';
import { addedSymbols } from './symbols.js';

/** Linux with a submission's driver in it. Only to be booted in a jail. */
export interface SubmittedLinux {
  readonly vmlinux: string;
  /** What `uname -r` says. */
  readonly release: string;
  /** Modules that the submission makes of its files, as host paths. */
  readonly modules: readonly string[];
  /** Objects of the submission's C files by source path, for looking up addresses. */
  readonly objects: ReadonlyMap<string, string>;
  /** What was decided for it, in sentences: symbols turned on. */
  readonly notes: readonly string[];
  readonly warnings: readonly Diagnostic[];
  readonly digest: string;
  readonly dir: string;
  readonly fresh: boolean;
}

/** Changes when this file builds something else from the same inputs. */
const RECIPE = 1;

/**
 * Builds Linux with a submission's files in a jail. Kconfig symbols that the submission adds are turned on, as its
 * author did in menuconfig.
 *
 * @throws LabError as `buildOnSeed`.
 */
export async function buildSubmittedLinux(
  { seed, files }: { seed: Seed; files: SubmittedFiles },
  context: BuildContext,
): Promise<SubmittedLinux> {
  const artifact = await getOrMake({
    kind: 'submitted-linux',
    inputs: { recipe: RECIPE, seed: seed.digest, files: digestSubmitted(files) },
    signal: context.step.signal,
    make: async (dir, log) => {
      const out = join(dir, 'out');
      await mkdir(out);
      const config = await changedConfig(seed, files);
      const settings = new Map([...config, ...(await lineNumbers(seed, files))]);
      const warnings = await buildOnSeed(
        {
          what: `Linux ${seed.version}`,
          seed,
          files,
          settings,
          script: script(seed, config.size > 0),
          env: REPRODUCIBLE,
          extract: { paths: ['build/vmlinux', 'build/.config', RELEASE, ...productsOf(files)], to: out },
          log,
          timeout: context.timeouts.submittedKernel,
        },
        context,
      ).catch((error) => Promise.reject(chargeSubmission(error)));
      await access(join(out, 'build/vmlinux')).catch(() => Promise.reject(nothingBuilt()));
      await keepWarnings(dir, warnings);
    },
  });
  return await describe(artifact, seed, files);
}

const RELEASE = 'build/include/config/kernel.release';

/** The kernel's configuration, unless that of the seed serves as it is: changing it costs a second. */
async function changedConfig(seed: Seed, files: SubmittedFiles): Promise<Map<string, Buffer>> {
  const path = join('build', '.config');
  const text = await readFile(join(seed.dir, path), 'utf8');
  const config = new Map(parseKconfig(text));
  const before = formatKconfig(config);
  for (const name of await addedSymbols(seed, seedFiles(seed))) config.delete(name);
  for (const name of await addedSymbols(seed, wantedFiles(files))) config.set(name, 'y');
  const after = formatKconfig(config);
  const same =
    new Set(before.split('\n')).size === new Set([...before.split('\n'), ...after.split('\n')]).size;
  return same ? new Map() : new Map([[path, Buffer.from(after)]]);
}

/** The submission's objects, and no others, get line numbers, so that an oops can be traced to its line. */
async function lineNumbers(seed: Seed, files: SubmittedFiles): Promise<[string, Buffer][]> {
  const sources = [...files].filter(([path, { data }]) => path.endsWith('.c') && data !== undefined);
  const folders = new Set(sources.map(([path]) => dirname(path)));
  return await Promise.all(
    [...folders].map(async (folder): Promise<[string, Buffer]> => {
      const path = join(folder, 'Makefile');
      const data = files.get(path)?.data ?? (await readTreeFile(seed.pristine, path))?.data;
      const objects = sources.map(([name]) => name).filter((name) => dirname(name) === folder);
      const flags = objects.map((name) => `CFLAGS_${basename(name, '.c')}.o += -g`);
      return [
        join('src', path),
        Buffer.from(`${data?.toString('latin1') ?? ''}\n${flags.join('\n')}\n`, 'latin1'),
      ];
    }),
  );
}

function seedFiles(seed: Seed) {
  return {
    paths: seed.contributed,
    read: async (path: string) => (await readTreeFile(join(seed.dir, 'src'), path))?.data,
  };
}

function wantedFiles(files: SubmittedFiles) {
  return { paths: [...files.keys()], read: async (path: string) => files.get(path)?.data };
}

/** vmlinux is started directly; the compressed image would only cost time. */
function script(seed: Seed, reconfigure: boolean): string {
  const make = `make -C ${quote(join(seed.at, 'src'))} O=${quote(join(seed.at, 'build'))}`;
  return [
    ...(reconfigure ? [`${make} -s olddefconfig </dev/null`] : []),
    `exec ${make} -j${availableParallelism()} -Otarget vmlinux modules </dev/null`,
  ].join('\n');
}

/** Objects, and modules that a composite object may be called after. */
function productsOf(files: SubmittedFiles): string[] {
  const folders = new Set(
    [...files.keys()].filter((path) => path.endsWith('.c')).map((path) => dirname(path)),
  );
  const objects = [...files.keys()]
    .filter((path) => path.endsWith('.c'))
    .flatMap((path) => [
      path.replace(/\.c$/, '.o'),
      join(dirname(path), `.${basename(path).replace(/\.c$/, '.o')}.cmd`),
    ]);
  const modules = [...folders].map((folder) => join(folder, 'modules.order'));
  const names = [...files].flatMap(([path, { data }]) => moduleNames(path, data));
  return [...objects, ...modules, ...names].map((path) => join('build', path));
}

/** Objects that makefiles of the submission name could become modules. */
function moduleNames(path: string, data: Buffer | undefined): string[] {
  if (!/(^|\/)(Makefile|Kbuild)$/.test(path)) return [];
  const named = data?.toString('utf8').matchAll(/^obj-\S+\s*\+?:?=\s*(.+)$/gm) ?? [];
  const objects = [...named].flatMap(([, list]) => (list ?? '').split(/\s+/));
  return objects
    .filter((name) => /^[\w-]+\.o$/.test(name) && /rng/i.test(name))
    .map((name) => join(dirname(path), name.replace(/\.o$/, '.ko')));
}

async function describe(
  artifact: { digest: string; dir: string; fresh: boolean },
  seed: Seed,
  files: SubmittedFiles,
): Promise<SubmittedLinux> {
  const out = join(artifact.dir, 'out');
  const build = join(out, 'build');
  const entries = await readdir(build, { recursive: true });
  const objects = [...files.keys()]
    .map((path) => [path, path.replace(/\.c$/, '.o')] as const)
    .filter(([path, object]) => path !== object && entries.includes(object))
    .map(([path, object]) => [path, join(build, object)] as const);
  const symbols = [...(await addedSymbols(seed, wantedFiles(files)))];
  return {
    ...artifact,
    vmlinux: join(build, 'vmlinux'),
    release: (await readFile(join(out, RELEASE), 'utf8')).trim(),
    modules: entries.filter((name) => name.endsWith('.ko')).map((name) => join(build, name)),
    objects: new Map(objects),
    notes: symbols.map((name) => `the kernel was configured with CONFIG_${name}=y`),
    warnings: await readWarnings(artifact.dir),
  };
}

function nothingBuilt(): LabError {
  return new LabError({
    code: 'build/failed',
    blame: 'submission',
    fact: 'the build of Linux ended without an error and without a kernel',
    next: 'do not change what the build makes: only add your driver to it',
  });
}
