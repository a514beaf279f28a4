import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { withLock } from './lock.js';
import { cacheRoot } from './paths.js';

/** One thing in the cache that can be removed by itself. */
export interface CacheEntry {
  /** `artifact qemu`, `sources`, `work`, `downloads`, … */
  readonly kind: string;
  readonly name: string;
  readonly path: string;
  /** Bytes on disk. */
  readonly size: number;
  readonly used: Date;
  readonly isArtifact: boolean;
}

/** Folders whose children are entries; other files of the cache are small memos. */
const PLAIN = ['downloads', 'sources', 'work', 'tools', 'seeds'] as const;

/** Everything in the cache, least recently used first. Locks and unfinished work of live processes are left out. */
export async function cacheEntries(): Promise<CacheEntry[]> {
  const root = cacheRoot();
  const kinds = await children(join(root, 'artifacts'));
  const artifacts = kinds.map((kind) => entriesOf(join(root, 'artifacts', kind), kind, true));
  const plain = PLAIN.map((kind) => entriesOf(join(root, kind), kind, false));
  const all = (await Promise.all([...artifacts, ...plain])).flat();
  return all.sort((a, b) => a.used.getTime() - b.used.getTime());
}

/** Removes an entry; waits for a process that is making it. */
export async function removeEntry({ path }: CacheEntry): Promise<void> {
  await withLock(`${path}.lock`, {}, () => rm(path, { recursive: true, force: true }));
}

async function entriesOf(folder: string, kind: string, isArtifact: boolean): Promise<CacheEntry[]> {
  const names = (await children(folder)).filter((name) => !/^\.|\.(lock|part|log)$/.test(name));
  return await Promise.all(
    names.map(async (name) => {
      const path = join(folder, name);
      const { mtime } = await lstat(path);
      return { kind, name, path, size: await sizeOf(path), used: mtime, isArtifact };
    }),
  );
}

async function sizeOf(path: string): Promise<number> {
  const info = await lstat(path);
  if (!info.isDirectory()) return info.blocks * 512;
  const sizes = await Promise.all((await children(path)).map((name) => sizeOf(join(path, name))));
  return sizes.reduce((sum, size) => sum + size, 0);
}

async function children(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
