import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packageRoot } from '../host/paths.js';
import type { Json } from '../host/store.js';
import { plainModes, readTree, type Tree } from './tree.js';

export type Distro = 'alpine' | 'debian';

export interface Package {
  readonly name: string;
  readonly version: string;
}

/** What a distribution's own code found out and fetched; `unpack` needs no network any more. */
export interface Prepared {
  readonly distro: Distro;
  /** Release of the distribution, as it writes it. */
  readonly version: string;
  /** Sorted by name. */
  readonly packages: readonly Package[];
  /** Where the packages came from, for the report. */
  readonly origin: string;
  /** What else determines the image: digests of the files fetched. */
  readonly files: Json;
  /** What the reader of the report must know. */
  readonly notes: readonly string[];
  /** The distribution's file system, before our own files go on top. */
  unpack(log: string): Promise<Tree>;
}

/** Raised whenever the code of this folder makes another image of the same packages. */
const GENERATION = 1;

/** Folders of `vm/guest/`, later ones over earlier ones. Debian's users come from package scripts, so from us. */
const LAYERS = { alpine: ['common'], debian: ['common', 'debian'] } as const;

/** Our own files for a guest. */
export async function guestFiles(distro: Distro): Promise<Tree[]> {
  const layers = LAYERS[distro].map((name) => readTree(join(packageRoot, 'vm/guest', name)));
  return (await Promise.all(layers)).map(plainModes);
}

/** Digest of everything of ours that goes into an image. */
export async function recipeDigest(distro: Distro): Promise<string> {
  const hash = createHash('sha256').update(`${GENERATION}\n`);
  hash.update(await readFile(join(packageRoot, 'vm', `${distro}.json`)));
  for (const tree of await guestFiles(distro)) {
    for (const entry of [...tree.values()].sort((a, b) => (a.path < b.path ? -1 : 1))) {
      hash.update(`${entry.kind} ${entry.path} ${entry.kind === 'link' ? entry.target : entry.mode}\n`);
      if (entry.kind === 'file') hash.update(await readFile(entry.source));
    }
  }
  return hash.digest('hex');
}
