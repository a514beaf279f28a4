import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import {
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Header } from 'tar';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readPlain, unpack } from '../../src/host/archive.js';

const signal = new AbortController().signal;
let dir: string;
let to: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'lab-archive-'));
  to = join(dir, 'out');
});

afterEach(() => rm(dir, { recursive: true }));

interface Part {
  readonly path: string;
  readonly type?: 'File' | 'Directory' | 'SymbolicLink' | 'Link' | 'CharacterDevice' | 'FIFO';
  readonly linkpath?: string;
  readonly body?: string;
  readonly mode?: number;
}

/** A tar with exactly these entries, also ones that no tar program would write. */
async function makeTar(parts: readonly Part[], name = 'a.tar'): Promise<string> {
  const blocks: Buffer[] = [];
  for (const { path, type = 'File', linkpath, body = '', mode = 0o644 } of parts) {
    const header = new Header({ path, type, mode, size: body.length, mtime: new Date(1e12), uid: 0, gid: 0 });
    if (linkpath !== undefined) header.linkpath = linkpath;
    header.encode();
    const padding = Buffer.alloc((512 - (body.length % 512)) % 512);
    blocks.push(header.block as Buffer, Buffer.from(body), padding);
  }
  const path = join(dir, name);
  await writeFile(path, Buffer.concat([...blocks, Buffer.alloc(1024)]));
  return path;
}

const tree: Part[] = [
  { path: 'top/', type: 'Directory', mode: 0o755 },
  { path: 'top/run', body: '#!/bin/sh\n', mode: 0o755 },
  { path: 'top/sub/text', body: 'text' },
  { path: 'top/sub/up', type: 'SymbolicLink', linkpath: '../run' },
  { path: 'top/same', type: 'Link', linkpath: 'top/run' },
];

async function expectTree(root: string): Promise<void> {
  expect(await readFile(join(root, 'sub/text'), 'utf8')).toBe('text');
  expect(await readlink(join(root, 'sub/up'))).toBe('../run');
  const run = await lstat(join(root, 'run'));
  expect(run.mode & 0o111).not.toBe(0);
  expect(run.mtimeMs).toBe(1e12);
  expect((await lstat(join(root, 'sub/text'))).mode & 0o111).toBe(0);
  expect((await lstat(join(root, 'same'))).ino).toBe(run.ino);
}

describe('an honest archive', () => {
  test.each([
    ['plain', undefined],
    ['gzip', 'gzip'],
    ['xz', 'xz'],
    ['bzip2', 'bzip2'],
  ])('%s: contents, modes, times and links arrive, whatever its name is', async (_name, tool) => {
    const archive = await makeTar(tree, 'no-suffix');
    if (tool !== undefined) await writeFile(archive, execFileSync(tool, ['-c', archive]));
    await unpack(archive, to, { signal, strip: 1 });
    await expectTree(to);
    await unpack(archive, join(dir, 'whole'), { signal });
    await expectTree(join(dir, 'whole', 'top'));
  });

  test('a filter leaves entries out, the rest arrives as without one', async () => {
    const archive = await makeTar(tree);
    const seen: string[] = [];
    const filter = (name: string) => seen.push(name) > 0 && !name.includes('sub');
    await unpack(archive, to, { signal, strip: 1, filter });
    expect((await readdir(to)).sort()).toEqual(['run', 'same']);
    expect(seen).toContain('top/sub/text');
    expect((await lstat(join(to, 'run'))).mtimeMs).toBe(1e12);
  });

  test('set-user-id bits are dropped', async () => {
    await unpack(await makeTar([{ path: 'su', mode: 0o4755 }]), to, { signal });
    expect((await lstat(join(to, 'su'))).mode & 0o7000).toBe(0);
  });

  test('its bytes can be read without the compression', async () => {
    const archive = await makeTar(tree);
    const plain = await readFile(archive);
    await writeFile(archive, execFileSync('xz', ['-c', archive]));
    await using source = await readPlain(archive, signal);
    await source.ended; // also when they are asked for only after the program's end
    const chunks: Buffer[] = [];
    for await (const chunk of source.bytes) chunks.push(chunk);
    expect(Buffer.concat(chunks).equals(plain)).toBe(true);
  });
});

describe('a hostile archive', () => {
  const outside = '../outside';
  test.each<[string, Part[]]>([
    ['a name with ..', [{ path: 'a/../../outside', body: 'x' }]],
    ['an absolute name', [{ path: '/tmp/lab-outside', body: 'x' }]],
    ['an absolute symbolic link', [{ path: 'a', type: 'SymbolicLink', linkpath: '/etc' }]],
    ['a symbolic link out of the folder', [{ path: 'a/b', type: 'SymbolicLink', linkpath: '../../x' }]],
    ['a hard link out of the folder', [{ path: 'a', type: 'Link', linkpath: '../outside' }]],
    [
      'a file written through a link',
      [
        { path: 'a', type: 'SymbolicLink', linkpath: '..' },
        { path: 'a/outside', body: 'x' },
      ],
    ],
    ['a device', [{ path: 'a', type: 'CharacterDevice' }]],
    ['a pipe', [{ path: 'a', type: 'FIFO' }]],
  ])('%s is refused, with and without a filter', async (_name, parts) => {
    const archive = await makeTar([{ path: 'fine', body: 'fine' }, ...parts]);
    for (const more of [{}, { filter: () => true }]) {
      const failure = unpack(archive, to, { signal, ...more });
      await expect(failure).rejects.toMatchObject({ code: 'archive/unsafe', evidence: [expect.any(String)] });
      expect(existsSync(join(to, outside))).toBe(false);
      expect(existsSync('/tmp/lab-outside')).toBe(false);
    }
  });

  test('a link is judged by where it is after stripping', async () => {
    const link: Part = { path: 'top/a', type: 'SymbolicLink', linkpath: '../b' };
    const archive = await makeTar([link]);
    await unpack(archive, to, { signal });
    await expect(unpack(archive, join(dir, 'stripped'), { signal, strip: 1 })).rejects.toMatchObject({
      code: 'archive/unsafe',
    });
  });
});

describe('a damaged archive', () => {
  test.each(['gzip', 'xz', 'bzip2'])('truncated %s is named with what the program said', async (tool) => {
    const archive = await makeTar([...tree, { path: 'long', body: 'abc'.repeat(100_000) }]);
    await writeFile(archive, execFileSync(tool, ['-c', archive]));
    await truncate(archive, Math.floor((await lstat(archive)).size * 0.8));
    await expect(unpack(archive, to, { signal })).rejects.toMatchObject({
      code: 'archive/damaged',
      evidence: expect.arrayContaining([expect.stringContaining(tool)]),
    });
  });

  test.each(['a truncated tar', 'no tar at all', 'a folder', 'nothing'])('%s', async (what) => {
    const archive = await makeTar([{ path: 'long', body: 'abc'.repeat(100_000) }]);
    if (what === 'a truncated tar') await truncate(archive, 100_000);
    if (what === 'no tar at all') await writeFile(archive, 'just some text\n'.repeat(1000));
    if (what === 'a folder' || what === 'nothing') await rm(archive);
    if (what === 'a folder') await mkdir(archive);
    await expect(unpack(archive, to, { signal })).rejects.toMatchObject({ code: 'archive/damaged' });
  });
});

test('an abort ends it as interrupted', async () => {
  const controller = new AbortController();
  const archive = await makeTar([...tree, { path: 'long', body: 'abc'.repeat(1_000_000) }]);
  const pending = unpack(archive, to, { signal: controller.signal });
  controller.abort();
  await expect(pending).rejects.toMatchObject({ code: 'interrupted' });
});
