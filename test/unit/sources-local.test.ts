import { chmod, mkdir, mkdtemp, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { inspectPath, parseLinuxVersion, versionOfTree } from '../../src/sources/local.js';
import { pinnedVersions, releaseOf } from '../../src/sources/releases.js';
import { wantedVersion } from '../../src/sources/source.js';
import { treeDigest } from '../../src/sources/tree-digest.js';
import { quietStep } from '../support/quiet-step.js';

let dir: string;
let tree: string;
const cache = process.env.XDG_CACHE_HOME;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'lab-local-'));
  process.env.XDG_CACHE_HOME = join(dir, 'cache');
  tree = join(dir, 'tree');
  await put('Makefile', 'VERSION = 6\nPATCHLEVEL = 6\nSUBLEVEL = 9\nEXTRAVERSION =\n');
  await put('Kconfig', 'mainmenu\n');
  await put('drivers/a.c', 'int a;\n');
  await put('scripts/run.sh', '#!/bin/sh\n');
});

afterEach(async () => {
  if (cache === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = cache;
  await rm(dir, { recursive: true });
});

async function put(name: string, text: string): Promise<void> {
  await mkdir(dirname(join(tree, name)), { recursive: true });
  await writeFile(join(tree, name), text);
}

const digest = () => treeDigest(tree, quietStep());

describe('the digest of a tree', () => {
  test('depends on content, names, executability and link targets alone', async () => {
    const first = await digest();
    await utimes(join(tree, 'Kconfig'), new Date(), new Date(0));
    expect(await digest()).toBe(first);

    const changes: (() => Promise<unknown>)[] = [
      () => put('drivers/a.c', 'int b;\n'),
      () => chmod(join(tree, 'scripts/run.sh'), 0o755),
      () => rename(join(tree, 'drivers/a.c'), join(tree, 'drivers/b.c')),
      () => put('drivers/new.c', ''),
      () => symlink('b.c', join(tree, 'drivers/c.c')),
      () => rm(join(tree, 'drivers/c.c')).then(() => symlink('new.c', join(tree, 'drivers/c.c'))),
      () => rm(join(tree, 'drivers/new.c')),
    ];
    const seen = [first];
    for (const change of changes) {
      await change();
      const now = await digest();
      expect(seen).not.toContain(now);
      seen.push(now);
    }
  });

  test('is the same with and without the memory of an earlier call', async () => {
    await digest();
    await put('drivers/a.c', 'int other;\n');
    const remembered = await digest();
    await rm(join(dir, 'cache'), { recursive: true });
    expect(await digest()).toBe(remembered);
  });

  test('sees a change that keeps size and modification time', async () => {
    const time = new Date(1e12);
    await utimes(join(tree, 'drivers/a.c'), time, time);
    const before = await digest();
    await put('drivers/a.c', 'int z;\n');
    await utimes(join(tree, 'drivers/a.c'), time, time);
    expect(await digest()).not.toBe(before);
  });

  test('does not see version control and build products', async () => {
    const before = await digest();
    for (const name of [
      '.git/HEAD',
      'build/config.log',
      'drivers/a.o',
      'drivers/.a.o.cmd',
      'drivers/a.ko',
      'vmlinux',
      '.config',
      'include/generated/autoconf.h',
      'arch/x86/include/generated/asm/x.h',
      'scripts/__pycache__/x.pyc',
    ]) {
      await put(name, 'built');
    }
    expect(await digest()).toBe(before);
    await put('drivers/build/a.c', 'no product');
    expect(await digest()).not.toBe(before);
  });

  test('survives a damaged memory', async () => {
    const before = await digest();
    await put('drivers/a.c', 'int c;\n');
    await put('drivers/a.c', 'int a;\n');
    const { readdir } = await import('node:fs/promises');
    const folder = join(dir, 'cache/lab/tree-digests');
    for (const name of await readdir(folder)) await writeFile(join(folder, name), '{"sta');
    expect(await digest()).toBe(before);
  });

  test('stops on abort', async () => {
    for (let i = 0; i < 3000; i += 1) await put(`many/${i}`, 'x'.repeat(2000));
    await expect(treeDigest(tree, quietStep(AbortSignal.abort()))).rejects.toMatchObject({
      code: 'interrupted',
    });
  });
});

describe('versions', () => {
  test.each([
    ['VERSION = 6\nPATCHLEVEL = 6\nSUBLEVEL = 4\nEXTRAVERSION =\n', '6.6.4'],
    ['VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 0\nEXTRAVERSION = -rc3\n', '6.12-rc3'],
    ['all:\n', undefined],
  ])('%j is %s', (makefile, version) => {
    expect(parseLinuxVersion(makefile)).toBe(version);
  });

  test('a Linux tree is recognised where it is', async () => {
    expect(await inspectPath('linux', tree, quietStep())).toEqual({
      kind: 'tree',
      path: tree,
      version: '6.6.9',
      digest: await digest(),
    });
  });

  test('a QEMU tree is recognised, and nothing else is', async () => {
    await expect(versionOfTree('qemu', tree)).rejects.toMatchObject({
      code: 'sources/not-a-tree',
      blame: 'user',
      evidence: [expect.stringContaining('Makefile')],
    });
    await put('VERSION', '8.2.2\n');
    await put('configure', '#!/bin/sh\n# qemu configure script\nQEMU_X=1\n');
    expect(await versionOfTree('qemu', tree)).toBe('8.2.2');
  });

  test('a path that is not there is the user’s', async () => {
    const absent = inspectPath('linux', join(dir, 'absent'), quietStep());
    await expect(absent).rejects.toMatchObject({ code: 'sources/no-such-path', blame: 'user' });
  });

  test.each(['../../etc', '6', 'latest', '6.6.4/x', ''])('%j is refused as a version', (version) => {
    expect(() => wantedVersion({ project: 'linux', version })).toThrow(
      expect.objectContaining({ code: 'sources/bad-version' }),
    );
  });

  test.each(['8.2.0-rc2', '9.1', '10.0.13'])('%s is a version', (version) => {
    expect(wantedVersion({ project: 'qemu', version })).toBe(version);
  });
});

describe('releases', () => {
  test('the pinned QEMU has a digest, every release a signature by a full fingerprint', () => {
    expect(releaseOf('qemu', pinnedVersions.qemu).proofs[0]).toEqual({
      kind: 'digest',
      sha256: '01b428cddf0840d0c1b00ebfcc4f7cc506e88787564a4d3f57f22c7e50a3bbd8',
    });
    for (const release of [releaseOf('qemu', '9.0.0'), releaseOf('linux', '6.6.4')]) {
      const keys = release.proofs.flatMap((proof) => (proof.kind === 'digest' ? [] : proof.keys));
      expect(keys.length).toBeGreaterThan(0);
      for (const { fingerprint, urls } of keys) {
        expect(fingerprint).toMatch(/^[0-9A-F]{40}$/);
        for (const url of urls) expect(url).toMatch(/^https:/);
      }
    }
  });

  test('Linux lies in the folder of its major version', () => {
    expect(releaseOf('linux', '6.6.4')).toMatchObject({
      folder: expect.stringMatching(/\/v6\.x$/),
      archive: 'linux-6.6.4.tar.xz',
    });
  });
});
