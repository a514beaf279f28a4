import { Readable } from 'node:stream';
import { beforeAll, describe, expect, test } from 'vitest';
import { digestFromSums, fingerprintsIn, verifyDetached } from '../../src/sources/signature.js';
import { makeKey, type TestKey } from '../support/keys.js';

const data = Buffer.from('the archive'.repeat(10_000));
const digest = 'ab'.repeat(32);
let key: TestKey;
let other: TestKey;

beforeAll(async () => {
  [key, other] = await Promise.all([makeKey('Publisher'), makeKey('Other')]);
});

function trust(...keys: TestKey[]) {
  return { material: keys.map((k) => k.material), pins: [key.pin()] };
}

function stream(bytes: Buffer): Readable {
  return Readable.from([bytes.subarray(0, 1000), bytes.subarray(1000)]);
}

describe('a detached signature', () => {
  test.each([true, false])(
    'by the pinned key holds (armored: %s), and tells who signed when',
    async (armored) => {
      const before = Date.now() - 2000;
      const signer = await verifyDetached(
        stream(data),
        await key.sign(data, { armored }),
        trust(other, key),
        'x',
      );
      expect(signer.fingerprint).toBe(key.fingerprint);
      expect(signer.created.getTime()).toBeGreaterThan(before);
    },
  );

  test('over other data does not hold', async () => {
    const tampered = Buffer.from(data);
    tampered[5000] = 0;
    const checked = verifyDetached(stream(tampered), await key.sign(data), trust(key), 'linux.tar');
    await expect(checked).rejects.toMatchObject({
      code: 'sources/signature',
      message: expect.stringContaining('linux.tar'),
      evidence: expect.arrayContaining([expect.stringContaining(key.fingerprint)]),
    });
  });

  test.each([0, 1])('is found among others (pinned one at %i)', async (at) => {
    const pair = [await other.sign(data, { armored: false })];
    pair.splice(at, 0, await key.sign(data, { armored: false }));
    const signer = await verifyDetached(stream(data), Buffer.concat(pair), trust(key), 'x');
    expect(signer.fingerprint).toBe(key.fingerprint);
  });

  test('over shorter data does not hold', async () => {
    const checked = verifyDetached(stream(data.subarray(0, 5000)), await key.sign(data), trust(key), 'x');
    await expect(checked).rejects.toMatchObject({ code: 'sources/signature' });
  });

  test('by another key does not hold, even if its material is at hand', async () => {
    const checked = verifyDetached(stream(data), await other.sign(data), trust(key, other), 'x');
    await expect(checked).rejects.toMatchObject({ code: 'sources/signature' });
  });

  test('without the pinned key, what was wanted and found is named', async () => {
    const checked = verifyDetached(stream(data), await other.sign(data), trust(other), 'x');
    await expect(checked).rejects.toMatchObject({
      code: 'sources/signature',
      evidence: [expect.stringContaining(key.fingerprint), expect.stringContaining(other.fingerprint)],
    });
  });

  test('made after its key expired does not hold; made before, it still does', async () => {
    const year = 365 * 24 * 3600;
    const born = new Date(Date.now() - 3 * year * 1000);
    const old = await makeKey('Old', { date: born, lifetime: year });
    const pinned = { material: [old.material], pins: [old.pin()] };
    const valid = await old.sign(data, { date: new Date(born.getTime() + 1000 * 3600) });
    await expect(verifyDetached(stream(data), valid, pinned, 'x')).resolves.toMatchObject({
      fingerprint: old.fingerprint,
    });
    await expect(old.sign(data)).rejects.toThrow();
  });

  test('that is no signature is an error with facts', async () => {
    const checked = verifyDetached(stream(data), Buffer.from('<html>404</html>'), trust(key), 'x');
    await expect(checked).rejects.toMatchObject({
      code: 'sources/signature',
      evidence: [expect.any(String)],
    });
  });
});

describe('clear-signed sums', () => {
  const list = `${'cd'.repeat(32)}  linux-6.6.40.tar.xz\n${digest}  linux-6.6.4.tar.xz\n${digest} *bin.tar\n`;

  test('give the digest of exactly that name', async () => {
    const text = await key.clearsign(list);
    expect(await digestFromSums(text, 'linux-6.6.4.tar.xz', trust(key), 'sums')).toBe(digest);
    expect(await digestFromSums(text, 'bin.tar', trust(key), 'sums')).toBe(digest);
    const absent = digestFromSums(text, 'linux-6.6.5.tar.xz', trust(key), 'sums');
    await expect(absent).rejects.toMatchObject({ code: 'sources/not-listed' });
  });

  test('changed, by another key, or unsigned do not count', async () => {
    const text = await key.clearsign(list);
    const cases = [text.replace(digest, 'ee'.repeat(32)), await other.clearsign(list), list];
    for (const bad of cases) {
      const read = digestFromSums(bad, 'linux-6.6.4.tar.xz', trust(key, other), 'sums');
      await expect(read).rejects.toMatchObject({ code: 'sources/signature' });
    }
  });

  test('outside the signed part do not count', async () => {
    const text = await key.clearsign(list);
    for (const around of [`${digest}  evil.tar\n${text}`, `${text}\n${digest}  evil.tar\n`]) {
      const read = digestFromSums(around, 'evil.tar', trust(key), 'sums');
      await expect(read).rejects.toMatchObject({ code: expect.stringMatching(/not-listed|signature/) });
    }
  });
});

test('fingerprints of key material, and none of anything else', async () => {
  expect(await fingerprintsIn(key.material)).toEqual([key.fingerprint]);
  expect(await fingerprintsIn(Buffer.from('no key'))).toEqual([]);
  expect(await fingerprintsIn(Buffer.alloc(0))).toEqual([]);
});
