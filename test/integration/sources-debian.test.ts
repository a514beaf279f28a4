import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, type TestContext, test } from 'vitest';
import { LabError } from '../../src/errors.js';
import { digestFile } from '../../src/host/store.js';
import { openIndex, readAptSystem, versionsOf } from '../../src/sources/apt.js';
import { downloadDebs } from '../../src/sources/debian.js';
import { compareDebianVersions } from '../../src/sources/debian-version.js';
import { scaled } from '../../src/timeouts.js';
import { makeKey } from '../support/keys.js';
import { quietStep } from '../support/quiet-step.js';

const context = { step: quietStep(), timeouts: scaled(1) };
const cache = process.env.XDG_CACHE_HOME;
let dir: string;
let missing: string | undefined;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'lab-debian-'));
  process.env.XDG_CACHE_HOME = join(dir, 'cache');
  missing = await whyNoArchive();
}, 120_000);

afterAll(async () => {
  if (cache === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = cache;
  await rm(dir, { recursive: true });
});

/** Backports have the smallest index. */
async function backports() {
  const system = await readAptSystem();
  return await openIndex({ system, type: 'deb', suites: [`${system.codename}-backports`] }, context);
}

async function whyNoArchive(): Promise<string | undefined> {
  try {
    await backports();
    return undefined;
  } catch (error) {
    if (error instanceof LabError) return error.message;
    throw error;
  }
}

/** These tests talk to the archive that the host's apt is set up for. */
function needsArchive(t: TestContext): void {
  if (missing !== undefined) t.skip(`Debian’s archive cannot be used here: ${missing}`);
}

describe('the host’s own Debian archive', () => {
  test('gives a package, verified, into a folder of ours', { timeout: 120_000 }, async (t) => {
    needsArchive(t);
    const to = join(dir, 'debs');
    const wanted = [{ name: 'meson', suite: 'backports', minVersion: '1.5' }];
    const [deb] = await downloadDebs(wanted, to, context);
    if (deb === undefined) throw new Error('no package');
    expect(compareDebianVersions(deb.version, '1.5')).toBeGreaterThan(0);
    expect(await digestFile(deb.path)).toBe(deb.sha256);
    const field = (name: string) =>
      execFileSync('dpkg-deb', ['-f', deb.path, name], { encoding: 'utf8' }).trim();
    expect([field('Package'), field('Version')]).toEqual(['meson', deb.version]);
    expect(await readdir(to)).toHaveLength(1);
    expect(await downloadDebs(wanted, to, context)).toEqual([deb]);
  });

  test('an unknown package is named with the suites that lack it', { timeout: 60_000 }, async (t) => {
    needsArchive(t);
    const absent = downloadDebs(
      [{ name: 'lab-no-such-package', suite: 'backports' }],
      join(dir, 'no'),
      context,
    );
    await expect(absent).rejects.toMatchObject({
      code: 'sources/no-package',
      evidence: [expect.stringContaining('-backports: not there')],
    });
  });

  test('a suite that does not exist does not break the others', { timeout: 120_000 }, async (t) => {
    needsArchive(t);
    const system = await readAptSystem();
    const suites = ['lab-no-such-suite', `${system.codename}-backports`];
    const index = await openIndex({ system, type: 'deb', suites }, context);
    expect((await versionsOf(index, ['meson'], context)).has('meson')).toBe(true);
    const alone = openIndex({ system, type: 'deb', suites: ['lab-no-such-suite'] }, context);
    await expect(alone).rejects.toMatchObject({
      code: 'sources/apt-update',
      evidence: expect.arrayContaining([expect.stringContaining('lab-no-such-suite')]),
    });
  });
});

test('versions compare as dpkg compares them', () => {
  const part = fc.string({ unit: fc.constantFrom(...'019~+.az'), minLength: 1, maxLength: 6 });
  const version = fc.tuple(fc.constantFrom('', '1:'), part, fc.constantFrom('', '-1', '-0~a', '-1+b'));
  const text = version.map(([epoch, upstream, revision]) => `${epoch}0${upstream}${revision}`);
  fc.assert(
    fc.property(text, text, (a, b) => {
      const relation = ['lt', 'eq', 'gt'][Math.sign(compareDebianVersions(a, b)) + 1] ?? '';
      execFileSync('dpkg', ['--compare-versions', a, relation, b]);
    }),
    { numRuns: 60 },
  );
});

test('gpgv agrees about a signature', async (t) => {
  try {
    execFileSync('gpgv', ['--version']);
  } catch {
    t.skip('gpgv is not installed');
  }
  const key = await makeKey();
  const data = Buffer.from('data');
  const { readKey } = await import('openpgp');
  const binary = (await readKey({ armoredKey: key.material.toString() })).write();
  await writeFile(join(dir, 'ring.gpg'), binary);
  await writeFile(join(dir, 'data'), data);
  await writeFile(join(dir, 'data.sig'), await key.sign(data, { armored: false }));
  const check = () =>
    execFileSync(
      'gpgv',
      ['--status-fd', '1', '--keyring', join(dir, 'ring.gpg'), join(dir, 'data.sig'), join(dir, 'data')],
      {
        encoding: 'utf8',
        stdio: 'pipe',
      },
    );
  expect(check()).toContain(`VALIDSIG ${key.fingerprint}`);
  await writeFile(join(dir, 'data'), 'other');
  expect(check).toThrow();
});
