import { access, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../host/run.js';

/**
 * Copies to `to` what building a module needs of a built kernel, about a tenth of it: build rules, headers, the
 * programs of kbuild, and the list of exported symbols. Source and output become one tree, as in a distribution's
 * package of kernel headers.
 */
export async function copyModuleTree(
  from: { readonly src: string; readonly build: string },
  to: string,
  options: { readonly log: string; readonly signal: AbortSignal; readonly timeout: number },
): Promise<void> {
  const include = (await readdir(join(from.src, 'include'))).filter((name) => !UNUSED_HEADERS.includes(name));
  const makefiles = (await readdir(join(from.src, 'arch/x86'))).filter((name) => name.startsWith('Makefile'));
  const source = [
    'Makefile',
    'Kbuild',
    'scripts',
    'arch/x86/include',
    ...include.map((name) => `include/${name}`),
    ...makefiles.map((name) => `arch/x86/${name}`),
  ];
  await copyParts(from.src, await existing(from.src, source), to, options);
  await copyParts(from.build, await existing(from.build, BUILT), to, options);
}

/** Device tree bindings, a fifth of all headers, mean nothing on a PC. */
const UNUSED_HEADERS = ['dt-bindings'];

const BUILT = [
  '.config',
  'Module.symvers',
  'arch/x86/include/generated',
  'include/config',
  'include/generated',
  'scripts',
  'tools/objtool/objtool',
];

async function existing(root: string, parts: readonly string[]): Promise<string[]> {
  const present = await Promise.all(
    parts.map((part) =>
      access(join(root, part)).then(
        () => true,
        () => false,
      ),
    ),
  );
  return parts.filter((_, i) => present[i]);
}

async function copyParts(
  root: string,
  parts: readonly string[],
  to: string,
  options: { readonly log: string; readonly signal: AbortSignal; readonly timeout: number },
): Promise<void> {
  await run('cp', ['-a', '--parents', '--reflink=auto', '-t', to, ...parts], { ...options, cwd: root });
}
