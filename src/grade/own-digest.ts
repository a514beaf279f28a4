import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { packageRoot } from '../host/paths.js';
import { digestFile, digestJson } from '../host/store.js';

/** Digest of our own code, the checks included: an earlier verdict counts only when the same code would give it. */
export async function ownDigest(): Promise<string> {
  const root = join(packageRoot, 'src');
  const names = (await readdir(root, { recursive: true })).filter((name) => /\.(ts|py)$/.test(name)).sort();
  return digestJson(await Promise.all(names.map(async (name) => [name, await digestFile(join(root, name))])));
}
