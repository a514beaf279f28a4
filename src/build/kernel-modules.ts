import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { LabError } from '../errors.js';
import type { Linux } from './linux.js';

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
  { modules, release }: Pick<Linux, 'modules' | 'release'>,
  names: readonly string[],
): Promise<KernelModuleFile[]> {
  const folder = join('lib/modules', release);
  const root = join(modules, folder);
  const paths = await readdir(root, { recursive: true });
  const byName = new Map(
    paths.filter((path) => path.endsWith('.ko')).map((path) => [moduleName(path), path]),
  );
  const builtIn = await readFile(join(root, 'modules.builtin'), 'utf8');
  const inKernel = new Set(builtIn.split('\n').map(moduleName));
  const chosen = new Set<string>();
  for (const level = names.map(moduleName); level.length > 0; ) {
    const name = level.pop() as string;
    const path = byName.get(name);
    if (path === undefined && !inKernel.has(name)) throw noModule(name, release, [...byName.keys()]);
    if (path === undefined || chosen.has(path)) continue;
    chosen.add(path);
    level.push(...dependsOf(await readFile(join(root, path))));
  }
  const lists = paths.filter((path) => /^modules\.(builtin(\.modinfo)?|order)$/.test(path));
  return [...lists, ...[...chosen].sort()].map((path) => ({
    from: join(root, path),
    to: join('/', folder, path),
  }));
}

function moduleName(path: string): string {
  return basename(path, '.ko').replaceAll('-', '_');
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
    evidence: [`its modules: ${[...known].sort().join(', ')}`],
    next: 'turn it on in the configuration of the kernel (vm/kernel), or correct the name in the definition of the lab',
  });
}
