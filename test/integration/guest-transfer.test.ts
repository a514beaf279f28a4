import { execFileSync } from 'node:child_process';
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Guest } from '../../src/guest/guest.js';
import { makeKeyPair } from '../../src/guest/keys.js';
import { get, put } from '../../src/guest/transfer.js';
import { packTar, type TarEntry } from '../../src/host/tar-stream.js';
import { scaled } from '../../src/timeouts.js';
import { type SshServer, startSshServer } from '../support/ssh-server.js';

const userKey = makeKeyPair('user');
const hostKey = makeKeyPair('host');
const hasBusybox = has('busybox');
let dir: string;
let there: string;
let here: string;
let tools: string;
let server: SshServer;
let guest: Guest;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'lab-transfer-'));
  [there, here, tools] = [join(dir, 'there'), join(dir, 'here'), join(dir, 'tools')];
  for (const path of [there, here, tools]) await mkdir(path);
  server = await startSshServer({ userKey, hostKey, env: { PATH: `${tools}:${process.env.PATH}` } });
  guest = await Guest.connect({
    host: '127.0.0.1',
    port: server.port,
    user: 'root',
    privateKey: userKey.privateKey,
    hostKey: hostKey.publicKey,
    timeouts: scaled(1),
  });
});
afterEach(async () => {
  await guest.close();
  await server[Symbol.asyncDispose]();
  await rm(dir, { recursive: true });
});

function has(program: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`]);
    return true;
  } catch {
    return false;
  }
}

/** Replaces a program of the guest. */
async function tool(name: string, script: string): Promise<void> {
  await writeFile(join(tools, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

/** From now on the guest has the programs of busybox, as Alpine does. */
async function useBusybox(): Promise<void> {
  for (const name of ['tar', 'sh', 'stat', 'mv', 'rm', 'find', 'wc', 'cat', 'readlink', 'mktemp', 'mkdir']) {
    await tool(name, `exec busybox ${name} "$@"`);
  }
}

describe.each([['the tools of GNU'], ['the tools of busybox']])('%s', (kind) => {
  beforeEach(async ({ skip }) => {
    if (!kind.includes('busybox')) return;
    if (!hasBusybox) skip('busybox is not installed');
    await useBusybox();
  });

  test('files, with mode and time, into folders that are not there yet', async () => {
    const local = join(here, 'program');
    await writeFile(local, 'from a file');
    await chmod(local, 0o750);
    const mtime = new Date('2024-01-02T03:04:05Z');
    const bytes = await put(guest, [
      { from: local, to: join(there, 'a/b/program') },
      { data: 'text\0', to: join(there, 'c'), mode: 0o4711, mtime },
      { data: new Uint8Array(0), to: join(there, 'empty') },
    ]);
    expect(bytes).toBe(11 + 5);
    expect(await readFile(join(there, 'a/b/program'), 'utf8')).toBe('from a file');
    expect((await stat(join(there, 'a/b/program'))).mode & 0o7777).toBe(0o750);
    expect(await readFile(join(there, 'c'), 'utf8')).toBe('text\0');
    expect(await stat(join(there, 'c'))).toMatchObject({ mode: 0o104711, mtime });
    expect((await stat(join(there, 'empty'))).size).toBe(0);
    expect((await readdir(there)).sort()).toEqual(['a', 'c', 'empty']);
  });

  test('names with spaces, quotes, newlines, dollars, and long ones, both ways', async () => {
    const names = [
      ' two words ',
      'it\'s "so"',
      '$HOME `id`',
      'new\nline',
      '-rf',
      'größe',
      'x'.repeat(200),
      '*',
    ];
    await put(
      guest,
      names.map((name) => ({ data: `content of ${name}`, to: join(there, name) })),
    );
    expect((await readdir(there)).sort()).toEqual([...names].sort());
    for (const name of names) {
      await get(guest, join(there, name), here);
      expect(await readFile(join(here, name), 'utf8')).toBe(`content of ${name}`);
    }
    expect((await readdir(here)).sort()).toEqual([...names].sort());
  });

  test('a file takes the place of a file, or of a link, but not of a folder', async () => {
    await writeFile(join(there, 'old'), 'old');
    await symlink('old', join(there, 'link'));
    await mkdir(join(there, 'folder'));
    await put(guest, [{ data: 'new', to: join(there, 'link') }]);
    expect(await readFile(join(there, 'old'), 'utf8')).toBe('old');
    expect(await readFile(join(there, 'link'), 'utf8')).toBe('new');
    const onFolder = put(guest, [{ data: 'new', to: join(there, 'folder') }]);
    await expect(onFolder).rejects.toMatchObject({ code: 'guest/transfer' });
    expect((await readdir(there)).sort()).toEqual(['folder', 'link', 'old']);
  });

  test('a folder there and back', async () => {
    const tree = join(here, 'tree');
    const deep = join(tree, 'd'.repeat(90), 'e'.repeat(90));
    await mkdir(deep, { recursive: true });
    await mkdir(join(tree, 'empty'));
    await writeFile(join(deep, 'f'.repeat(90)), Buffer.alloc(3_000_000, 'x'));
    await writeFile(join(tree, 'run'), '#!/bin/sh\n', { mode: 0o755 });
    await symlink('run', join(tree, 'alias'));
    expect(await put(guest, [{ from: tree, to: join(there, 'tree') }])).toBe(3_000_010);
    expect(await readlink(join(there, 'tree/alias'))).toBe('run');
    const got = await get(guest, join(there, 'tree'), join(here, 'back'));
    expect(got).toEqual({ path: join(here, 'back'), bytes: 3_000_010, skipped: ['alias'] });
    const listed = (await readdir(join(here, 'back'), { recursive: true })).sort();
    expect(listed).toEqual(
      (await readdir(tree, { recursive: true })).filter((name) => name !== 'alias').sort(),
    );
    expect((await stat(join(here, 'back/run'))).mode & 0o777).toBe(0o755);
    expect((await readdir(here)).sort()).toEqual(['back', 'tree']);
  });

  test('a folder replaces a folder only when told to', async () => {
    await mkdir(join(there, 'd'));
    await writeFile(join(there, 'd/old'), '');
    await mkdir(join(here, 'd'));
    await writeFile(join(here, 'd/new'), '');
    const item = { from: join(here, 'd'), to: join(there, 'd') };
    await expect(put(guest, [item])).rejects.toMatchObject({ code: 'guest/transfer' });
    expect(await readdir(join(there, 'd'))).toEqual(['old']);
    await put(guest, [{ ...item, replace: true }]);
    expect(await readdir(join(there, 'd'))).toEqual(['new']);
    expect(await readdir(there)).toEqual(['d']);
  });

  test('a file that the kernel makes up as it is read', async () => {
    const { path, bytes } = await get(guest, '/proc/version', here);
    expect(await readFile(path, 'utf8')).toBe(await readFile('/proc/version', 'utf8'));
    expect(bytes).toBeGreaterThan(0);
  });

  test('what is not there, and what is no file', async () => {
    for (const path of [join(there, 'missing'), '/dev/null', join(there, 'a/b')]) {
      await expect(get(guest, path, join(here, 'x'))).rejects.toMatchObject({
        code: 'guest/no-file',
        blame: 'user',
      });
    }
    expect(await readdir(here)).toEqual([]);
  });
});

describe('put', () => {
  test.each(['', '.', '/', 'relative', '/tmp/', '/a/..', '/a\0b'])('refuses the target %j', async (to) => {
    await expect(put(guest, [{ data: '', to }])).rejects.toMatchObject({ code: 'guest/path', blame: 'user' });
  });

  test('what cannot be read here is an error before anything is sent', async () => {
    await expect(put(guest, [{ from: join(here, 'missing'), to: join(there, 'x') }])).rejects.toThrow(
      /ENOENT/,
    );
    await expect(put(guest, [{ from: '/dev/null', to: join(there, 'x') }])).rejects.toMatchObject({
      code: 'tar/kind',
    });
    expect(server.commands).toEqual([]);
  });

  test('a guest without room: its words are the evidence, nothing stays', async () => {
    await tool('tar', 'head -c 100000 > /dev/null; echo "tar: No space left on device" >&2; exit 1');
    const big = put(guest, [{ data: Buffer.alloc(8 << 20), to: join(there, 'big') }]);
    await expect(big).rejects.toMatchObject({
      code: 'guest/transfer',
      evidence: expect.arrayContaining(['tar: No space left on device']),
    });
    expect(await readdir(there)).toEqual([]);
  });

  test('a guest that drops bytes is found out', async () => {
    const path = join(there, 'x');
    await tool('tar', `/bin/tar "$@"; for f in ${there}/.lab-*; do : > "$f"; done`);
    await expect(put(guest, [{ data: 'content', to: path }])).rejects.toMatchObject({
      code: 'guest/transfer',
    });
    expect(await readdir(there)).toEqual([]);
  });

  test('the connection breaks in the middle: an error at once, and the guest tidies up', async () => {
    await writeFile(join(there, 'x'), 'old');
    const data = Buffer.alloc(64 << 20);
    const running = put(guest, [{ data, to: join(there, 'x') }]).catch((error) => error);
    await expect.poll(async () => (await readdir(there)).length).toBe(2);
    server.cut();
    expect(await running).toMatchObject({ code: 'guest/lost' });
    await expect.poll(() => readdir(there)).toEqual(['x']);
    expect(await readFile(join(there, 'x'), 'utf8')).toBe('old');
  });

  test('a guest that reads nothing: the deadline without progress, or an abort', async () => {
    await tool('tar', 'exec sleep 1000');
    const data = Buffer.alloc(8 << 20);
    const timeouts = { ...scaled(1), guestTransfer: 300 };
    await expect(put(guest, [{ data, to: join(there, 'x') }], { timeouts })).rejects.toMatchObject({
      code: 'guest/timeout',
    });
    const stop = new AbortController();
    const running = put(guest, [{ data, to: join(there, 'x') }], { signal: stop.signal });
    stop.abort();
    await expect(running).rejects.toMatchObject({ code: 'interrupted' });
  });
});

describe('get', () => {
  test('into a folder, over a file, not over a folder', async () => {
    await writeFile(join(there, 'f'), 'new');
    await writeFile(join(here, 'f'), 'old');
    expect(await get(guest, join(there, 'f'), here)).toMatchObject({ path: join(here, 'f'), bytes: 3 });
    expect(await readFile(join(here, 'f'), 'utf8')).toBe('new');
    await mkdir(join(here, 'there'));
    await writeFile(join(here, 'there/kept'), '');
    await expect(get(guest, there, here)).rejects.toMatchObject({ code: 'guest/path' });
    expect(await readdir(join(here, 'there'))).toEqual(['kept']);
    expect((await readdir(here)).sort()).toEqual(['f', 'there']);
  });

  test('a link is followed in the guest', async () => {
    await writeFile(join(there, 'file'), 'content');
    await symlink('file', join(there, 'link'));
    const { path } = await get(guest, join(there, 'link'), here);
    expect(path).toBe(join(here, 'link'));
    expect(await readFile(path, 'utf8')).toBe('content');
  });

  test('more than allowed', async () => {
    await writeFile(join(there, 'big'), Buffer.alloc(100_000));
    const bounded = get(guest, join(there, 'big'), here, { maxBytes: 50_000 });
    await expect(bounded).rejects.toMatchObject({ code: 'guest/archive' });
    expect(await readdir(here)).toEqual([]);
  });

  test('the connection breaks in the middle', async () => {
    await tool('tar', `/bin/tar "$@" | head -c 100000; sleep 1000`);
    await writeFile(join(there, 'big'), Buffer.alloc(1_000_000));
    const running = get(guest, join(there, 'big'), here).catch((error) => error);
    await expect.poll(async () => (await readdir(here)).length).toBe(1);
    server.cut();
    expect(await running).toMatchObject({ code: 'guest/lost' });
    expect(await readdir(here)).toEqual([]);
  });

  describe('a guest whose tar lies', () => {
    const base = { mode: 0o644, mtime: new Date(0) };
    const file = (path: string, text = 'x'): TarEntry => ({
      ...base,
      path,
      content: { kind: 'data', data: Buffer.from(text) },
    });
    const folder = (path: string): TarEntry => ({ ...base, path, mode: 0o755, content: { kind: 'folder' } });
    const link = (path: string, target: string): TarEntry => ({
      ...base,
      path,
      content: { kind: 'link', target },
    });

    async function lie(
      entries: TarEntry[],
      change: (archive: Buffer) => Buffer = (same) => same,
    ): Promise<void> {
      const parts: Buffer[] = [];
      for await (const part of packTar(entries)) parts.push(part);
      await writeFile(join(tools, 'lie'), change(Buffer.concat(parts)));
      await tool('tar', `exec cat ${join(tools, 'lie')}`);
      await writeFile(join(there, 'asked'), 'x');
    }

    test.each<[string, TarEntry[]]>([
      ['a link instead', [link('./asked', '/etc/passwd')]],
      ['an absolute name', [file('/etc/lab-was-here')]],
      ['an absolute name later', [folder('./asked'), file('/etc/lab-was-here')]],
      ['a way up', [folder('./asked'), file('./asked/../escaped')]],
      ['a way up at once', [file('../escaped')]],
      ['a way up as the name', [folder('./..'), file('./../escaped')]],
      ['another name', [folder('./asked'), file('./other')]],
      ['a name without a dot', [file('asked')]],
      ['a second file', [file('./asked'), file('./asked/more')]],
      ['the same name twice', [folder('./asked'), file('./asked/a'), file('./asked/a')]],
      ['the top twice', [folder('./asked'), folder('./asked')]],
      ['a file as a folder', [folder('./asked'), file('./asked/a'), file('./asked/a/b')]],
      ['a file through a link', [folder('./asked'), link('./asked/l', '/tmp'), file('./asked/l/escaped')]],
      ['an empty part', [folder('./asked'), file('./asked//etc')]],
      ['nothing', []],
    ])('%s', async (_what, entries) => {
      await lie(entries);
      await expect(get(guest, join(there, 'asked'), join(here, 'x'))).rejects.toMatchObject({
        code: 'guest/archive',
      });
      expect(await readdir(here)).toEqual([]);
      expect((await readdir(dir)).sort()).toEqual(['here', 'there', 'tools']);
    });

    test.each<[string, (archive: Buffer) => Buffer]>([
      ['cut in a header', (archive) => archive.subarray(0, 100)],
      ['cut in a body', (archive) => archive.subarray(0, 513)],
      ['cut before the end mark', (archive) => archive.subarray(0, 1024)],
      ['empty', () => Buffer.alloc(0)],
      ['no archive', () => Buffer.alloc(4096, 'junk')],
      ['a wrong checksum', (archive) => Buffer.concat([Buffer.from('9'), archive.subarray(1)])],
      ['compressed', () => execFileSync('gzip', { input: Buffer.alloc(100_000) })],
    ])('%s', async (_what, change) => {
      await lie([file('./asked')], change);
      await expect(get(guest, join(there, 'asked'), join(here, 'x'))).rejects.toMatchObject({
        code: 'guest/archive',
      });
      expect(await readdir(here)).toEqual([]);
    });

    test('sizes beyond all bounds, declared or sent', async () => {
      const huge: TarEntry = {
        ...base,
        path: './asked',
        content: { kind: 'file', file: '/dev/null', size: 2 ** 40 },
      };
      const archive: Buffer[] = [];
      await (async () => {
        for await (const part of packTar([huge])) archive.push(part);
      })().catch(() => {});
      await writeFile(join(tools, 'lie'), Buffer.concat(archive));
      await tool('tar', `cat ${join(tools, 'lie')} /dev/zero`);
      await writeFile(join(there, 'asked'), 'x');
      const bounded = get(guest, join(there, 'asked'), here, { maxBytes: 5_000_000 });
      await expect(bounded).rejects.toMatchObject({ code: 'guest/archive' });
      await tool('tar', 'exec cat /dev/zero');
      const zeros = get(guest, join(there, 'asked'), here, { maxBytes: 5_000_000 });
      await expect(zeros).rejects.toMatchObject({ code: 'guest/archive' });
      expect(await readdir(here)).toEqual([]);
    });

    test('no set-user-id bit crosses over', async () => {
      await lie([{ ...file('./asked'), mode: 0o4777 }]);
      const { path } = await get(guest, join(there, 'asked'), here);
      expect((await stat(path)).mode & 0o7000).toBe(0);
    });

    test('its failure is told in its words', async () => {
      await tool('tar', 'echo "tar: I/O error" >&2; exit 2');
      await writeFile(join(there, 'asked'), 'x');
      const failing = get(guest, join(there, 'asked'), here);
      await expect(failing).rejects.toMatchObject({ code: 'guest/transfer', evidence: ['tar: I/O error'] });
    });
  });
});
