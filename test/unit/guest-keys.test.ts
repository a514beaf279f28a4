import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import ssh2 from 'ssh2';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fingerprintOf, loadOrMakeKeyPair, makeKeyPair, publicBlob } from '../../src/guest/keys.js';

const exec = promisify(execFile);
let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'lab-keys-'));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

describe('makeKeyPair', () => {
  test.each(['', 'a', 'ab', 'abc', 'abcd', 'abcde', 'abcdef', 'abcdefg', 'two words', 'größe'])(
    'ssh2 reads both halves, comment %j',
    (comment) => {
      const pair = makeKeyPair(comment);
      const secret = ssh2.utils.parseKey(pair.privateKey);
      const open = ssh2.utils.parseKey(pair.publicKey);
      if (secret instanceof Error || open instanceof Error) throw new Error('not parsed');
      expect(secret.isPrivateKey()).toBe(true);
      expect(secret.comment).toBe(comment);
      const message = Buffer.from('message');
      expect(open.verify(message, secret.sign(message) as Buffer)).toBe(true);
    },
  );

  test('every pair is another one', () => {
    expect(makeKeyPair('x').fingerprint).not.toBe(makeKeyPair('x').fingerprint);
  });

  test('the fingerprint is that of the public line', () => {
    const pair = makeKeyPair('x');
    expect(fingerprintOf(publicBlob(pair.publicKey))).toBe(pair.fingerprint);
    expect(pair.fingerprint).toMatch(/^SHA256:[A-Za-z0-9+/]{43}$/);
  });
});

describe('publicBlob', () => {
  test.each(['', 'ssh-rsa AAAA', 'ssh-ed25519', 'ssh-ed25519 AAAA'])('refuses %j', (line) => {
    expect(() => publicBlob(line)).toThrow(expect.objectContaining({ code: 'guest/key' }));
  });
});

describe('loadOrMakeKeyPair', () => {
  test('makes it once, private and public, and leaves nothing else', async () => {
    const first = await loadOrMakeKeyPair(dir, 'id');
    expect(await loadOrMakeKeyPair(dir, 'id')).toEqual(first);
    expect(first.path).toBe(join(dir, 'id'));
    expect((await stat(first.path)).mode & 0o777).toBe(0o600);
    expect(await readFile(`${first.path}.pub`, 'utf8')).toBe(`${first.publicKey}\n`);
    expect((await readdir(dir)).sort()).toEqual(['id', 'id.pub']);
  });

  test('sixteen callers at once get one pair', async () => {
    const pairs = await Promise.all(Array.from({ length: 16 }, () => loadOrMakeKeyPair(dir, 'id')));
    expect(new Set(pairs.map(({ privateKey }) => privateKey)).size).toBe(1);
    expect((await readdir(dir)).sort()).toEqual(['id', 'id.pub']);
  });

  test.each(['', 'junk', makeKeyPair('x').privateKey.slice(0, 150)])(
    'refuses a damaged file',
    async (text) => {
      await writeFile(join(dir, 'id'), text);
      await expect(loadOrMakeKeyPair(dir, 'id')).rejects.toMatchObject({ code: 'guest/key', blame: 'host' });
    },
  );
});

test('ssh-keygen reads the private key and agrees on the fingerprint', async ({ skip }) => {
  const present = await exec('sh', ['-c', 'command -v ssh-keygen']).catch(() => undefined);
  if (present === undefined) skip('ssh-keygen of openssh-client is not installed');
  for (const name of ['a', 'ab', 'abc', 'abcd', 'abcde', 'abcdef', 'abcdefg', 'abcdefgh']) {
    const pair = await loadOrMakeKeyPair(dir, name);
    const { stdout } = await exec('ssh-keygen', ['-y', '-f', pair.path]);
    expect(stdout.trim()).toBe(pair.publicKey);
    expect((await exec('ssh-keygen', ['-l', '-f', pair.path])).stdout).toContain(pair.fingerprint);
  }
});
