import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { planSource } from '../../src/sources/plan.js';
import type { Proof, Release } from '../../src/sources/releases.js';
import { resolveSource } from '../../src/sources/resolve.js';
import type { SourceRequest } from '../../src/sources/source.js';
import { scaled } from '../../src/timeouts.js';
import { type Mirror, startMirror } from '../support/http-mirror.js';
import { makeKey, type TestKey } from '../support/keys.js';
import { quietStep } from '../support/quiet-step.js';

const timeouts = { ...scaled(1), fetchHeaders: 300, fetchIdle: 300 };
const saved = { cache: process.env.XDG_CACHE_HOME, config: process.env.XDG_CONFIG_HOME };
const archive = 'linux-6.6.4.tar.xz';
const request: SourceRequest = { project: 'linux', version: '6.6.4', only: ['upstream', 'mirror'] };

let fixtures: string;
let key: TestKey;
let tar: Buffer;
let xz: Buffer;
let mirror: Mirror;
let dir: string;

beforeAll(async () => {
  key = await makeKey('Publisher');
  fixtures = await mkdtemp(join(tmpdir(), 'lab-fixture-'));
  const tree = join(fixtures, 'linux-6.6.4');
  await mkdir(join(tree, 'init'), { recursive: true });
  await writeFile(join(tree, 'Makefile'), 'VERSION = 6\nPATCHLEVEL = 6\nSUBLEVEL = 4\nEXTRAVERSION =\n');
  await writeFile(join(tree, 'Kconfig'), 'mainmenu\n');
  await writeFile(join(tree, 'init/main.c'), 'int main;\n'.repeat(1000));
  tar = execFileSync('tar', ['-C', fixtures, '-cf', '-', 'linux-6.6.4']);
  xz = execFileSync('xz', ['-c'], { input: tar });
});

afterAll(() => rm(fixtures, { recursive: true }));

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'lab-sources-'));
  process.env.XDG_CACHE_HOME = join(dir, 'cache');
  process.env.XDG_CONFIG_HOME = join(dir, 'config');
  mirror = await startMirror();
  mirror.serve(`/up/${archive}`, xz);
  mirror.serve('/up/sums.asc', await key.clearsign(`${sha(xz)}  ${archive}\n`));
  mirror.serve('/up/tar.sign', await key.sign(tar));
  mirror.serve('/up/xz.sig', await key.sign(xz, { armored: false }));
  mirror.serve('/key.asc', key.material);
});

afterEach(async () => {
  await mirror[Symbol.asyncDispose]();
  await rm(dir, { recursive: true });
  for (const [name, value] of [
    ['XDG_CACHE_HOME', saved.cache],
    ['XDG_CONFIG_HOME', saved.config],
  ] as const) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
});

function sha(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

const proofs = {
  digest: (): Proof => ({ kind: 'digest', sha256: sha(xz) }),
  sums: (): Proof => ({ kind: 'signed-sums', file: 'sums.asc', keys: [key.pin(`${mirror.url}/key.asc`)] }),
  tar: (): Proof => ({
    kind: 'signature',
    file: 'tar.sign',
    over: 'tar',
    keys: [key.pin(`${mirror.url}/key.asc`)],
  }),
  xz: (): Proof => ({
    kind: 'signature',
    file: 'xz.sig',
    over: 'archive',
    keys: [key.pin(`${mirror.url}/key.asc`)],
  }),
};

function release(...list: Proof[]): Release {
  return { project: 'linux', version: '6.6.4', folder: `${mirror.url}/up`, archive, proofs: list };
}

function resolve(more: Partial<SourceRequest> = {}, how = release(proofs.digest()), step = quietStep()) {
  return resolveSource({ ...request, ...more }, { step, timeouts }, how);
}

function asked(path: string): number {
  return mirror.requests.filter(({ target }) => target === path).length;
}

async function leftovers(): Promise<string[]> {
  const names = await readdir(join(dir, 'cache/lab/sources'));
  return names.filter((name) => !name.endsWith('.lock') && name !== '.failed');
}

describe('a publisher', () => {
  test.each(['digest', 'sums', 'tar', 'xz'] as const)(
    'proven by %s is used, unpacked and recorded',
    async (proof) => {
      const step = quietStep();
      const source = await resolve({}, release(proofs[proof]()), step);
      expect(source).toMatchObject({
        version: '6.6.4',
        wanted: '6.6.4',
        origin: { kind: 'upstream', detail: `${mirror.url}/up/${archive}` },
        digest: sha(xz),
        patched: [],
        fresh: true,
      });
      expect(await readFile(join(source.tree, 'Kconfig'), 'utf8')).toBe('mainmenu\n');
      expect(step.notes).toEqual([expect.stringContaining('Linux 6.6.4 from upstream')]);
      expect(await leftovers()).toEqual([`linux-6.6.4-${sha(xz).slice(0, 12)}`]);
      expect(existsSync(join(dir, 'cache/lab/downloads', archive))).toBe(false);
    },
  );

  test('is not asked again for what is in the cache', async () => {
    const first = await resolve();
    const before = mirror.requests.length;
    expect(await resolve({ offline: true })).toEqual({ ...first, fresh: false });
    expect(await resolve({ refresh: true })).toEqual({ ...first, fresh: false });
    expect(mirror.requests).toHaveLength(before);
  });

  test('is asked once by two at the same time', async () => {
    const both = await Promise.all([resolve(), resolve()]);
    expect(both.map(({ fresh }) => fresh).sort()).toEqual([false, true]);
    expect(asked(`/up/${archive}`)).toBe(1);
  });

  test('with the next proof when the first cannot be had', async () => {
    mirror.behave('/up/sums.asc', { kind: 'status', code: 404 });
    const source = await resolve({}, release(proofs.sums(), proofs.tar()));
    expect(source.digest).toBe(sha(xz));
  });

  test.each<[string, (other: TestKey) => Promise<[string, Buffer | string]>]>([
    ['an archive that differs from the signed sums', async () => [`/up/${archive}`, Buffer.from('evil')]],
    [
      'sums signed by somebody else',
      async (other) => ['/up/sums.asc', await other.clearsign(`${sha(xz)}  ${archive}\n`)],
    ],
    ['sums that do not list it', async () => ['/up/sums.asc', await key.clearsign('nothing\n')]],
    ['a key that is not the pinned one', async (other) => ['/key.asc', other.material]],
  ])('with %s is not used, and nothing is kept', async (_name, make) => {
    const [path, body] = await make(await makeKey('Other'));
    mirror.serve(path, body);
    await expect(resolve({}, release(proofs.sums()))).rejects.toMatchObject({
      code: 'sources/unavailable',
      blame: 'host',
      evidence: [expect.any(String)],
    });
    expect(await leftovers()).toEqual([]);
    expect(await readdir(join(dir, 'cache/lab/downloads')).catch(() => [])).not.toContain(archive);
  });

  test.each(['tar', 'xz'] as const)('whose %s signature is over other data is not used', async (proof) => {
    const path = proof === 'tar' ? '/up/tar.sign' : '/up/xz.sig';
    mirror.serve(path, await key.sign(Buffer.from('other')));
    const bad = resolve({}, release(proofs[proof](), proofs.digest()));
    await expect(bad).rejects.toMatchObject({ evidence: [expect.stringContaining('does not hold')] });
    expect(await readdir(join(dir, 'cache/lab/downloads'))).not.toContain(archive);
  });

  test('that does not answer is remembered for a day, and asked again on request', async () => {
    mirror.behave(`/up/${archive}`, { kind: 'status', code: 404 });
    await expect(resolve()).rejects.toMatchObject({ evidence: [expect.stringContaining('HTTP 404')] });
    await expect(resolve()).rejects.toMatchObject({
      evidence: [expect.stringContaining('within the last day')],
    });
    expect(asked(`/up/${archive}`)).toBe(1);
    mirror.behave(`/up/${archive}`, { kind: 'ok' });
    expect((await resolve({ refresh: true })).fresh).toBe(true);
  });

  test('is asked again when the failure is more than a day old', async () => {
    mirror.behave(`/up/${archive}`, { kind: 'status', code: 404 }, { kind: 'ok' });
    await expect(resolve()).rejects.toMatchObject({ code: 'sources/unavailable' });
    const failed = join(dir, 'cache/lab/sources/.failed');
    const [name = ''] = await readdir(failed);
    const old = new Date(Date.now() - 25 * 3600 * 1000);
    await utimes(join(failed, name), old, old);
    expect((await resolve()).fresh).toBe(true);
  });

  test('is left alone offline', async () => {
    await expect(resolve({ offline: true })).rejects.toMatchObject({ code: 'sources/unavailable' });
    expect(mirror.requests).toHaveLength(0);
  });
});

describe('keys', () => {
  test('that were fetched are kept, those of the user are found', async () => {
    await resolve({}, release(proofs.sums()));
    expect(asked('/key.asc')).toBe(1);
    await rm(join(dir, 'cache/lab/sources'), { recursive: true });
    await resolve({}, release(proofs.sums()));
    expect(asked('/key.asc')).toBe(1);

    await rm(join(dir, 'cache'), { recursive: true });
    await mkdir(join(dir, 'config/lab/keys'), { recursive: true });
    await writeFile(join(dir, 'config/lab/keys/any.asc'), key.material);
    await resolve({}, release(proofs.sums()));
    expect(asked('/key.asc')).toBe(1);
  });

  test('that nobody has are named with where they were sought', async () => {
    mirror.behave('/key.asc', { kind: 'status', code: 404 });
    await expect(resolve({}, release(proofs.sums()))).rejects.toMatchObject({
      evidence: [expect.stringContaining(key.fingerprint)],
    });
  });
});

describe('mirrors', () => {
  test('are tried in order after the publisher; proofs may come from the publisher', async () => {
    mirror.behave(`/up/${archive}`, { kind: 'status', code: 404 });
    mirror.serve(`/two/${archive}`, xz);
    const mirrors = [`${mirror.url}/one/`, `${mirror.url}/two/`];
    const source = await resolve({ mirrors }, release(proofs.sums()));
    expect(source.origin).toEqual({ kind: 'mirror', detail: `${mirror.url}/two/${archive}` });
  });

  test('may be a folder, also offline', async () => {
    const folder = join(dir, 'mirror');
    await mkdir(folder);
    await writeFile(join(folder, archive), xz);
    const source = await resolve({ mirrors: [folder], offline: true });
    expect(source.origin).toEqual({ kind: 'mirror', detail: join(folder, archive) });
    expect(mirror.requests).toHaveLength(0);
  });

  test('are not used when only the publisher may be', async () => {
    mirror.behave(`/up/${archive}`, { kind: 'status', code: 404 });
    mirror.serve(`/one/${archive}`, xz);
    const alone = resolve({ mirrors: [`${mirror.url}/one`], only: ['upstream'] });
    await expect(alone).rejects.toMatchObject({ code: 'sources/unavailable' });
  });
});

describe('a path', () => {
  test('to a tree is used where it is, without the network', async () => {
    const path = join(fixtures, 'linux-6.6.4');
    const source = await resolve({ path });
    expect(source).toMatchObject({
      version: '6.6.4',
      tree: path,
      origin: { kind: 'path', detail: path },
      fresh: false,
    });
    expect(mirror.requests).toHaveLength(0);
  });

  test('to a tarball is unpacked once', async () => {
    const path = join(dir, 'mine.tar.xz');
    await writeFile(path, xz);
    const first = await resolve({ path });
    expect(first).toMatchObject({ version: '6.6.4', origin: { kind: 'path', detail: path }, fresh: true });
    expect((await stat(join(first.tree, 'init/main.c'))).size).toBe(10_000);
    expect(await resolve({ path })).toEqual({ ...first, fresh: false });
    expect(await leftovers()).toHaveLength(1);
  });

  test('to something else is the user’s mistake and leaves nothing behind', async () => {
    const path = join(dir, 'other.tar');
    await writeFile(path, execFileSync('tar', ['-C', fixtures, '-cf', '-', 'linux-6.6.4/init']));
    await expect(resolve({ path })).rejects.toMatchObject({ code: 'sources/not-a-tree', blame: 'user' });
    await writeFile(path, 'no archive');
    await expect(resolve({ path })).rejects.toMatchObject({ code: 'archive/damaged' });
    expect(await leftovers()).toEqual([]);
  });
});

test('an abort while downloading is an interruption, not a failure of the publisher', async () => {
  mirror.behave(`/up/${archive}`, { kind: 'mute' });
  const controller = new AbortController();
  const arrived = mirror.asked(`/up/${archive}`);
  const pending = resolve({}, release(proofs.digest()), quietStep(controller.signal));
  await arrived;
  controller.abort();
  await expect(pending).rejects.toMatchObject({ code: 'interrupted' });
  mirror.behave(`/up/${archive}`, { kind: 'ok' });
  expect((await resolve()).fresh).toBe(true);
});

test('what a killed process left unfinished does not count', async () => {
  const half = join(dir, 'cache/lab/sources/.linux-6.6.4.work/unpacked/half');
  await mkdir(half, { recursive: true });
  await mkdir(join(dir, `cache/lab/sources/linux-6.6.4-${'0'.repeat(12)}/tree`), { recursive: true });
  const source = await resolve();
  expect(source.fresh).toBe(true);
  expect(existsSync(half)).toBe(false);
});

describe('the plan', () => {
  const plan = (more: Partial<SourceRequest> = {}) => {
    const wanted = { ...request, only: ['upstream', 'mirror', 'debian'] as const, ...more };
    return planSource(wanted, undefined, release(proofs.digest()));
  };

  test('names the places in order and downloads nothing', async () => {
    const { wanted, places } = await plan({ mirrors: ['http://mirror.invalid/x/'] });
    expect(wanted).toBe('6.6.4');
    expect(places.map(({ kind, state }) => `${kind} ${state}`)).toEqual([
      'upstream to try',
      'mirror to try',
      'debian to try',
    ]);
    expect(places[1]?.detail).toBe(`http://mirror.invalid/x/${archive}`);
    expect(mirror.requests).toHaveLength(0);
  });

  test('shows what is cached, what failed lately, and what a path cuts short', async () => {
    mirror.behave(`/up/${archive}`, { kind: 'status', code: 404 }, { kind: 'ok' });
    await expect(resolve()).rejects.toMatchObject({ code: 'sources/unavailable' });
    expect((await plan()).places[0]).toMatchObject({
      state: 'skipped',
      remark: expect.stringContaining('404'),
    });
    await resolve({ refresh: true });
    expect((await plan()).places[0]).toMatchObject({ kind: 'upstream', state: 'cached', version: '6.6.4' });
    expect((await plan({ path: '/src' })).places).toEqual([
      { kind: 'path', detail: '/src', version: undefined, state: 'to try' },
    ]);
  });
});
