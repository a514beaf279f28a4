import { definedSymbols, isKconfigFile } from '../build/kconfig.js';
import type { Seed } from '../build/seed.js';
import { readTreeFile } from '../build/tree.js';

/** Files as somebody wants them to be. */
export interface KconfigFiles {
  readonly paths: readonly string[];
  readonly read: (path: string) => Promise<Buffer | undefined>;
}

/** Kconfig symbols that those files define and the pristine tree's do not. */
export async function addedSymbols(
  seed: Pick<Seed, 'pristine'>,
  { paths, read }: KconfigFiles,
): Promise<Set<string>> {
  const added = new Set<string>();
  for (const path of paths.filter(isKconfigFile)) {
    const known = symbolsIn((await readTreeFile(seed.pristine, path))?.data);
    for (const name of symbolsIn(await read(path))) if (!known.has(name)) added.add(name);
  }
  return added;
}

function symbolsIn(data: Buffer | undefined): Set<string> {
  return definedSymbols(data?.toString('utf8') ?? '');
}
