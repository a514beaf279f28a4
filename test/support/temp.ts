import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';

/** A folder for the tests of one file, removed afterwards; also the cache while they run. */
export function useTempFolder(): { readonly path: string } {
  const folder = { path: '' };
  const before = process.env.XDG_CACHE_HOME;
  beforeAll(async () => {
    folder.path = await realpath(await mkdtemp(join(tmpdir(), 'lab-test-')));
    process.env.XDG_CACHE_HOME = join(folder.path, 'cache');
  });
  afterAll(async () => {
    if (before === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = before;
    await rm(folder.path, { recursive: true, force: true });
  });
  return folder;
}
