import { copyFile, cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Blame, LabError } from '../errors.js';
import { run } from '../host/run.js';
import { digestFile, getOrMake, type Json } from '../host/store.js';
import { type Compilation, compile } from './compile.js';
import type { Diagnostic } from './diagnostics.js';
import type { Kernel } from './kernel.js';
import { keepWarnings, readWarnings } from './warnings.js';
import type { BuildContext } from './worktree.js';

export interface ModuleRequest {
  readonly linux: Pick<Kernel, 'kbuild' | 'release' | 'digest'>;
  /** Host folder with the sources and a `Kbuild` or `Makefile` that names the module in `obj-m`. */
  readonly dir: string;
  /** Name of the module: `my_rng` for `my_rng.ko`. */
  readonly name: string;
  /** Who has to act when it does not compile; default `user`. */
  readonly blame?: Blame;
}

export interface KernelModule {
  /** The `.ko` file. */
  readonly ko: string;
  readonly warnings: readonly Diagnostic[];
  readonly digest: string;
  readonly dir: string;
  readonly fresh: boolean;
}

/**
 * A loadable module for `linux`, built in a private copy of its sources.
 *
 * @throws LabError `build/no-makefile`, `build/compile`, `build/no-module` when the makefile makes something else,
 *   `build/vermagic`, `build/failed`.
 */
export async function buildModule(request: ModuleRequest, context: BuildContext): Promise<KernelModule> {
  const { linux, dir, name } = request;
  const sources = await listSources(dir);
  if (!sources.some((file) => file === 'Kbuild' || file === 'Makefile')) throw noMakefile(request);
  const artifact = await getOrMake({
    kind: 'module',
    inputs: { linux: linux.digest, name, sources: await digests(dir, sources) },
    signal: context.step.signal,
    make: async (to, log) => {
      const copy = await mkdtemp(join(tmpdir(), 'lab-module-'));
      try {
        for (const file of sources) await cp(join(dir, file), join(copy, file), { dereference: true });
        await keepWarnings(to, await make(request, copy, log, context));
        await copyFile(await built(copy, request), join(to, `${name}.ko`));
        await checkRelease(join(to, `${name}.ko`), request, context);
      } finally {
        await rm(copy, { recursive: true, force: true });
      }
    },
  });
  return { ...artifact, ko: join(artifact.dir, `${name}.ko`), warnings: await readWarnings(artifact.dir) };
}

/** What a build leaves behind is not a source, and must not count as one. A link stands for the file it names. */
async function listSources(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() || entry.isSymbolicLink())
    .map((entry) => join(entry.parentPath, entry.name).slice(dir.length).replace(/^\/+/, ''))
    .filter((file) => /(^|\/)(Kbuild|Makefile)$|\.[chS]$/.test(file) && !file.endsWith('.mod.c'))
    .sort();
}

async function digests(dir: string, files: readonly string[]): Promise<Json> {
  return Object.fromEntries(
    await Promise.all(files.map(async (file) => [file, await digestFile(join(dir, file))])),
  );
}

async function make(
  { linux, dir, name, blame = 'user' }: ModuleRequest,
  copy: string,
  log: string,
  { step, timeouts }: BuildContext,
): Promise<Diagnostic[]> {
  const compilation: Compilation = {
    what: `the module ${name}`,
    locate: (path) =>
      (path.startsWith(`${copy}/`) ? path.slice(copy.length + 1) : path).replace(/\.o$/, '.c'),
    owner: (path) => (path.startsWith('/') ? undefined : { path: join(dir, path), blame }),
  };
  const options = {
    cwd: copy,
    log,
    signal: step.signal,
    timeout: timeouts.smallBuild,
    onLine: (line: string) => step.output(line),
  };
  return await compile(
    'make',
    ['-C', linux.kbuild, `M=${copy}`, `KCFLAGS=-fmacro-prefix-map=${copy}/=`, 'modules'],
    options,
    compilation,
  );
}

async function built(copy: string, { name, dir, blame = 'user' }: ModuleRequest): Promise<string> {
  const made = (await readdir(copy)).filter((file) => file.endsWith('.ko'));
  if (made.includes(`${name}.ko`)) return join(copy, `${name}.ko`);
  throw new LabError({
    code: 'build/no-module',
    blame,
    fact: `building ${dir} did not make ${name}.ko`,
    evidence: made.length === 0 ? ['no .ko file at all'] : made.map((file) => `made ${file}`),
    next: `let its makefile say: obj-m += ${name}.o`,
  });
}

async function checkRelease(
  ko: string,
  { linux, name }: ModuleRequest,
  context: BuildContext,
): Promise<void> {
  const { stdout } = await run('modinfo', ['-F', 'vermagic', ko], {
    signal: context.step.signal,
    timeout: context.timeouts.hostTool,
    env: { PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` },
  });
  if (stdout.split(' ')[0] === linux.release) return;
  throw new LabError({
    code: 'build/vermagic',
    blame: 'host',
    fact: `the module ${name} was built for another kernel than ${linux.release}`,
    evidence: [`vermagic: ${stdout.trim()}`],
    next: 'remove the kernel from the cache and build again: lab cache prune',
  });
}

function noMakefile({ dir, name, blame = 'user' }: ModuleRequest): LabError {
  return new LabError({
    code: 'build/no-makefile',
    blame,
    fact: `${dir} holds neither Kbuild nor Makefile`,
    next: `add a file Kbuild with the line: obj-m += ${name}.o`,
  });
}
