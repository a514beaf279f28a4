import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { LabError } from '../errors.js';
import type { Kernel } from './kernel.js';

/** A file of the kernel's module tree, and where it belongs in a guest. */
export interface KernelModuleFile {
  readonly from: string;
  readonly to: string;
}

/**
 * The files with which `depmod` and `modprobe` find modules of the kernel itself in a guest: the modules, all that
 * they depend on, and the lists of what is built in. A name that is built in needs no file.
 *
 * @param names as `modprobe` takes them; `-` and `_` are the same.
 * @throws LabError `build/no-kernel-module`.
 */
export async function kernelModuleFiles(
  { modules, release }: Pick<Kernel, 'modules' | 'release'>,
  names: readonly string[],
): Promise<KernelModuleFile[]> {
  const folder = join('lib/modules', release);
  const root = join(modules, folder);
  const chosen = await modulesInOrder(root, names);
  const lists = (await readdir(root)).filter((name) => MODULE_LISTS.test(name));
  return [...lists, ...chosen.sort()].map((path) => ({
    from: join(root, path),
    to: join('/', folder, path),
  }));
}

/** Files beside the modules that say what is built in, and in which order drivers are tried. */
export const MODULE_LISTS = /^modules\.(builtin(\.modinfo)?|order)$/;

/**
 * The files of modules and of all that they depend on, relative to `root`, in an order in which they can be inserted.
 * What is built in has no file.
 *
 * @param root a folder `lib/modules/<release>`.
 * @param unpack makes a `.ko` of a compressed module beside it.
 * @throws LabError `build/no-kernel-module`.
 */
export async function modulesInOrder(
  root: string,
  names: readonly string[],
  unpack: (path: string) => Promise<void> = async () => {},
): Promise<string[]> {
  const paths = await readdir(root, { recursive: true });
  const files = new Map(
    paths.filter((path) => /\.ko(\.\w+)?$/.test(path)).map((path) => [moduleName(path), path]),
  );
  const builtIn = (await readFile(join(root, 'modules.builtin'), 'utf8')).split('\n').map(moduleName);
  const order = new Set<string>();
  const add = async (name: string): Promise<void> => {
    const file = files.get(name);
    if (file === undefined && !builtIn.includes(name))
      throw noModule(name, basename(root), [...files.keys()]);
    const path = file?.replace(/\.ko\.\w+$/, '.ko');
    if (file === undefined || path === undefined || order.has(path)) return;
    if (file !== path) await unpack(join(root, file));
    for (const other of dependsOf(await readFile(join(root, path)))) await add(other);
    order.add(path);
  };
  for (const name of names) await add(moduleName(name));
  return [...order];
}

function moduleName(path: string): string {
  return basename(path)
    .replace(/\.ko(\.\w+)?$/, '')
    .replaceAll('-', '_');
}

/** What the linker wrote into the section `.modinfo`. */
function dependsOf(module: Buffer): string[] {
  const [, list = ''] = /\0depends=([\w,-]*)\0/.exec(module.toString('latin1')) ?? [];
  return list
    .split(',')
    .filter((name) => name !== '')
    .map(moduleName);
}

function noModule(name: string, release: string, known: readonly string[]): LabError {
  return new LabError({
    code: 'build/no-kernel-module',
    blame: 'user',
    fact: `the kernel ${release} has no module ${name}`,
    evidence: [`its modules: ${[...known].sort().slice(0, 200).join(', ')}`],
    next: 'turn it on in the configuration of the kernel (vm/kernel), or correct the name in the definition of the lab',
  });
}
