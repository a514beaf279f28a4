import { copyFile, lstat, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LabError } from '../errors.js';
import { withLock } from '../host/lock.js';
import { cacheRoot } from '../host/paths.js';
import { run } from '../host/run.js';
import { digestJson, getOrMake } from '../host/store.js';
import type { Deb } from '../sources/debian.js';
import { downloadKernel, type KernelDebs } from '../sources/debian-kernel.js';
import { compilerVersion } from './compile.js';
import { BOOT_MODULES } from './initrd.js';
import type { Kernel } from './kernel.js';
import { MODULE_LISTS, modulesInOrder } from './kernel-modules.js';
import { unpackVmlinuz } from './vmlinuz.js';
import type { BuildContext } from './worktree.js';

/** A kernel of Debian as downloaded. */
export interface DistroPackages {
  readonly debs: KernelDebs;
  /** `linux-image-6.1.0-37-amd64 6.1.140-1`. */
  readonly origin: string;
  readonly digest: string;
  /** True when this call asked Debian for it. */
  readonly fresh: boolean;
}

/**
 * The newest kernel of the host's release of Debian: the one that an earlier call found, without any network, unless
 * `refresh` is set or its files are gone.
 *
 * @throws LabError as `downloadKernel`.
 */
export async function fetchDistroLinux(
  { refresh }: { readonly refresh: boolean },
  context: BuildContext,
): Promise<DistroPackages> {
  const recall = async () => (refresh ? undefined : await recallDistroLinux());
  const known = await recall();
  if (known !== undefined) return known;
  return await withLock(`${downloads()}.lock`, { signal: context.step.signal }, async () => {
    const meanwhile = await recall();
    if (meanwhile !== undefined) return meanwhile;
    const debs = await downloadKernel(downloads(), context);
    const memory = join(downloads(), MEMORY);
    await writeFile(`${memory}.part`, `${JSON.stringify(debs, null, 1)}\n`);
    await rename(`${memory}.part`, memory);
    return described(debs, true);
  });
}

/** The kernel that was downloaded last; undefined when there is none. */
export async function recallDistroLinux(): Promise<DistroPackages | undefined> {
  try {
    const debs = JSON.parse(await readFile(join(downloads(), MEMORY), 'utf8')) as KernelDebs;
    await Promise.all(filesOf(debs).map(({ path }) => lstat(path)));
    return described(debs, false);
  } catch {
    return undefined; // never asked, or pruned
  }
}

const MEMORY = 'kernel.json';

function downloads(): string {
  return join(cacheRoot(), 'downloads/debian-kernel');
}

function described(debs: KernelDebs, fresh: boolean): DistroPackages {
  const sums = Object.fromEntries(filesOf(debs).map(({ name, sha256 }) => [name, sha256]));
  return { debs, origin: `${debs.image.name} ${debs.image.version}`, digest: digestJson(sums), fresh };
}

function filesOf({ image, headers, common, kbuild }: KernelDebs): Deb[] {
  return [image, headers, common, kbuild];
}

export interface DistroLinuxRequest {
  readonly packages: DistroPackages;
  /** Modules that a lab loads, beyond those that a boot needs. */
  readonly modules: readonly string[];
}

/** Changes when this file makes something else of the same packages. */
const RECIPE = 2;

/**
 * Debian's kernel in the place of one built here: the kernel, the modules that a boot and the lab need, and a tree
 * against which modules are built, with nothing outside of it.
 *
 * @throws LabError `build/no-kernel-module`, `build/kernel-package` when the packages are not laid out as expected.
 */
export async function distroLinux(
  { packages, modules }: DistroLinuxRequest,
  context: BuildContext,
): Promise<Kernel> {
  const { debs } = packages;
  const artifact = await getOrMake({
    kind: 'distro-linux',
    inputs: {
      recipe: RECIPE,
      packages: packages.digest,
      version: debs.image.version,
      modules: [...BOOT_MODULES, ...modules],
      compiler: await compilerVersion(context),
    },
    signal: context.step.signal,
    onWait: () => context.step.note('another command is unpacking the same kernel; waiting for it'),
    make: (dir, log) => unpack(debs, modules, dir, log, context),
  });
  const { dir } = artifact;
  return {
    ...artifact,
    version: debs.image.version,
    vmlinux: join(dir, 'vmlinux'),
    config: join(dir, 'config'),
    release: debs.release,
    modules: join(dir, 'modules'),
    kbuild: join(dir, 'kbuild'),
    needsInitrd: true,
    warnings: [],
  };
}

interface Tools {
  readonly log: string;
  readonly signal: AbortSignal;
  readonly timeout: number;
}

async function unpack(
  debs: KernelDebs,
  modules: readonly string[],
  dir: string,
  log: string,
  { step, timeouts }: BuildContext,
): Promise<void> {
  const tools = { log, signal: step.signal, timeout: timeouts.smallBuild };
  const work = join(dir, 'unpacked');
  const files = filesOf(debs);
  await mkdir(work);
  await Promise.all(files.map(({ name, path }) => run('dpkg-deb', ['-x', path, join(work, name)], tools)));
  const image = join(work, debs.image.name);
  await unpackVmlinuz(join(image, 'boot', `vmlinuz-${debs.release}`), join(dir, 'vmlinux'), tools);
  await copyFile(join(image, 'boot', `config-${debs.release}`), join(dir, 'config'));
  await takeModules(image, debs.release, modules, dir, tools);
  await takeKbuild(work, debs, join(dir, 'kbuild'));
  await rm(work, { recursive: true, force: true });
}

/** Four fifths of all files are modules for hardware that no machine of ours has. */
async function takeModules(
  image: string,
  release: string,
  wanted: readonly string[],
  dir: string,
  tools: Tools,
): Promise<void> {
  const from = await firstOf(['lib/modules', 'usr/lib/modules'].map((path) => join(image, path, release)));
  const to = join(dir, 'modules/lib/modules', release);
  await mkdir(to, { recursive: true });
  const chosen = await modulesInOrder(from, [...BOOT_MODULES, ...wanted], (path) => decompress(path, tools));
  const lists = (await readdir(from)).filter((name) => MODULE_LISTS.test(name));
  for (const path of [...lists, ...chosen]) {
    await mkdir(dirname(join(to, path)), { recursive: true });
    await rename(join(from, path), join(to, path));
  }
}

async function decompress(path: string, tools: Tools): Promise<void> {
  await run(path.endsWith('.zst') ? 'zstd' : 'xz', ['-d', '-q', path], tools);
}

/**
 * The three packages as one tree, as `copyModuleTree` makes of a kernel built here. Debian's own point to each other
 * by absolute paths. Its `vmlinux` is left out: with it, every module would want type information that only pahole makes.
 */
async function takeKbuild(work: string, { headers, common, kbuild }: KernelDebs, to: string): Promise<void> {
  const [own, shared] = [headers, common].map(({ name }) => join(work, name, 'usr/src', name)) as [
    string,
    string,
  ];
  const programs = join(work, kbuild.name, 'usr/lib', kbuild.name);
  const parts: [string, string][] = [
    ...['Makefile', 'include', 'arch/x86'].map((path): [string, string] => [join(shared, path), path]),
    ...['scripts', 'tools'].map((path): [string, string] => [join(programs, path), path]),
    ...['.config', 'Module.symvers'].map((path): [string, string] => [join(own, path), path]),
    ...['include/config', 'include/generated', 'arch/x86/include/generated', 'arch/x86/module.lds'].map(
      (path): [string, string] => [join(own, path), path],
    ),
  ];
  await firstOf(parts.slice(0, 1).map(([from]) => from));
  await mkdir(join(to, 'arch'), { recursive: true });
  for (const [from, path] of parts) {
    await rename(from, join(to, path)).catch((cause) => Promise.reject(unexpected([from], cause)));
  }
  await dropUnused(join(to, 'include'));
  const variables = await readFile(join(own, '.kernelvariables'), 'utf8');
  await writeFile(join(to, '.kernelvariables'), kernelVariables(variables));
}

/**
 * Half of all files: device tree bindings, and an empty file for each configuration symbol, whose times tell a build
 * inside the kernel's own tree what to make again.
 */
async function dropUnused(include: string): Promise<void> {
  await rm(join(include, 'dt-bindings'), { recursive: true, force: true });
  const stamps = await readdir(join(include, 'config'), { withFileTypes: true });
  const symbols = stamps.filter((entry) => /^[A-Z0-9_]+$/i.test(entry.name));
  for (const { name } of symbols) await rm(join(include, 'config', name), { recursive: true });
}

/**
 * Debian's makefile settings with a compiler that is found: the one that made the kernel where it is installed, else
 * the host's own.
 */
export function kernelVariables(debian: string): string {
  const compiler = /^CC = .*?(gcc-\d+)\s*$/m.exec(debian)?.[1] ?? 'gcc';
  const kept = debian
    .split('\n')
    .filter((line) => /^(override (ARCH|KERNELRELEASE)|DEBIAN_KERNEL_)/.test(line));
  return [...kept, `CC := $(shell command -v ${compiler} || echo gcc)`, ''].join('\n');
}

async function firstOf(paths: readonly string[]): Promise<string> {
  for (const path of paths) {
    const found = await lstat(path).catch(() => undefined);
    if (found !== undefined) return path;
  }
  throw unexpected(paths);
}

function unexpected(paths: readonly string[], cause?: unknown): LabError {
  return new LabError({
    code: 'build/kernel-package',
    blame: 'host',
    fact: "Debian's kernel packages are not laid out as expected",
    evidence: paths.map((path) => `not there: ${path}`),
    next: 'build the kernel instead: leave --kernel distro out',
    cause,
  });
}
