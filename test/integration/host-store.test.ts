import { chmod, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { cacheEntries, removeEntry } from '../../src/host/cache.js';
import { withLock } from '../../src/host/lock.js';
import { artifactsRoot, getOrMake, verifyArtifact } from '../../src/host/store.js';
import { useTempFolder } from '../support/temp.js';

const folder = useTempFolder();

describe('getOrMake', () => {
  test('makes an artifact once for concurrent callers, and finds it again', async () => {
    let made = 0;
    const make = async (dir: string) => {
      made += 1;
      await new Promise((resolve) => setTimeout(resolve, 50));
      await writeFile(join(dir, 'result'), 'x');
    };
    const request = { kind: 'once', inputs: { a: 1 }, make };
    const all = await Promise.all([getOrMake(request), getOrMake(request), getOrMake(request)]);
    expect(made).toBe(1);
    expect(all.map(({ fresh }) => fresh).filter(Boolean)).toHaveLength(1);
    expect((await getOrMake(request)).fresh).toBe(false);
  });

  test('other inputs are another artifact; its inputs and log are kept with it', async () => {
    const make = (text: string) => async (dir: string, log: string) => {
      await writeFile(join(dir, 'result'), text);
      await writeFile(log, `made ${text}\n`);
    };
    const a = await getOrMake({ kind: 'two', inputs: { v: 'a' }, make: make('a') });
    const b = await getOrMake({ kind: 'two', inputs: { v: 'b' }, make: make('b') });
    expect(a.digest).not.toBe(b.digest);
    expect(JSON.parse(await readFile(join(b.dir, 'inputs.json'), 'utf8'))).toEqual({ v: 'b' });
    expect(await readFile(join(b.dir, 'build.log'), 'utf8')).toBe('made b\n');
  });

  test('a failed attempt leaves nothing that looks finished, but its log', async () => {
    const make = async (dir: string, log: string) => {
      await writeFile(join(dir, 'half'), 'x');
      await writeFile(log, 'why it failed\n');
      throw new Error('failed');
    };
    await expect(getOrMake({ kind: 'fails', inputs: {}, make })).rejects.toThrow('failed');
    const left = await readdir(join(artifactsRoot(), 'fails'));
    expect(left.filter((name) => !/\.(lock|log)$/.test(name))).toEqual([]);
    const good = await getOrMake({ kind: 'fails', inputs: {}, make: (dir) => writeFile(join(dir, 'r'), '') });
    expect(good.fresh).toBe(true);
  });
});

describe('verifyArtifact', () => {
  test('names files that changed or are gone', async () => {
    const make = async (dir: string) => {
      for (const name of ['a', 'b', 'c']) await writeFile(join(dir, name), name);
    };
    const { dir } = await getOrMake({ kind: 'verify', inputs: {}, make });
    expect(await verifyArtifact(dir)).toEqual([]);
    await chmod(join(dir, 'b'), 0o644);
    await writeFile(join(dir, 'b'), 'tampered');
    await rm(join(dir, 'c'));
    expect(await verifyArtifact(dir)).toEqual(['b', 'c']);
  });
});

describe('cacheEntries', () => {
  test('lists what was made, by kind and size, and removes one by itself', async () => {
    const make = (dir: string) => writeFile(join(dir, 'result'), Buffer.alloc(100_000));
    const { digest } = await getOrMake({ kind: 'listed', inputs: {}, make });
    const entry = (await cacheEntries()).find(({ kind }) => kind === 'listed');
    expect(entry).toMatchObject({ name: digest, isArtifact: true });
    expect(entry?.size).toBeGreaterThanOrEqual(100_000);
    if (entry !== undefined) await removeEntry(entry);
    expect((await cacheEntries()).some(({ kind }) => kind === 'listed')).toBe(false);
    expect((await getOrMake({ kind: 'listed', inputs: {}, make })).fresh).toBe(true);
  });
});

describe('withLock', () => {
  test('lets one in at a time, and tells who has to wait', async () => {
    const path = join(folder.path, 'a.lock');
    const seen: string[] = [];
    let waited = 0;
    const enter = (name: string) =>
      withLock(path, { onWait: () => (waited += 1) }, async () => {
        seen.push(`${name} in`);
        await new Promise((resolve) => setTimeout(resolve, 30));
        seen.push(`${name} out`);
      });
    await Promise.all([enter('a'), enter('b')]);
    expect(seen.map((line) => line.slice(2))).toEqual(['in', 'out', 'in', 'out']);
    expect(waited).toBe(1);
  });

  test('an abort ends the wait', async () => {
    const path = join(folder.path, 'b.lock');
    const stop = new AbortController();
    await withLock(path, {}, async () => {
      const waiting = withLock(path, { signal: stop.signal, onWait: () => stop.abort() }, async () => {});
      await expect(waiting).rejects.toMatchObject({ code: 'interrupted' });
    });
  });
});
