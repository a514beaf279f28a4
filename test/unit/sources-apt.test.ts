import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseMadison, readAptSystem } from '../../src/sources/apt.js';
import {
  entriesFor,
  groupsFor,
  parseDeb822,
  parseOneLine,
  stanzaFor,
} from '../../src/sources/apt-sources.js';
import { closureOf, parseDepends } from '../../src/sources/debian.js';
import { compareDebianVersions, upstreamOf } from '../../src/sources/debian-version.js';

describe('one-line sources', () => {
  test('options, comments and components are read', () => {
    const entries = parseOneLine(`
# deb http://off.example/debian bookworm main
deb [signed-by=/k/a.gpg arch=amd64,i386] http://a.example/debian bookworm main contrib # why
deb-src http://a.example/debian bookworm-updates main
   deb http://flat.example/ ./
nonsense
`);
    expect(entries).toEqual([
      {
        uris: ['http://a.example/debian'],
        suites: ['bookworm'],
        components: ['main', 'contrib'],
        options: { 'signed-by': '/k/a.gpg', architectures: 'amd64 i386' },
      },
      { uris: ['http://a.example/debian'], suites: ['bookworm-updates'], components: ['main'], options: {} },
      { uris: ['http://flat.example/'], suites: ['./'], components: [], options: {} },
    ]);
  });
});

describe('deb822 sources', () => {
  const key = '\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDME\n -----END PGP PUBLIC KEY BLOCK-----';

  test('stanzas, folded fields, comments and embedded keys are read', () => {
    const entries = parseDeb822(`# top
Types: deb deb-src
# inside
URIs: http://a.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By:${key}

Types: deb
URIs: http://off.example/
Suites: x
Enabled: no


Types: deb
URIs:
 http://b.example/one
 http://b.example/two
Suites: bookworm-security
Components: main non-free
Check-Valid-Until: no
`);
    expect(entries).toEqual([
      {
        uris: ['http://a.example/debian'],
        suites: ['bookworm', 'bookworm-updates'],
        components: ['main'],
        options: { 'signed-by': key },
      },
      {
        uris: ['http://b.example/one', 'http://b.example/two'],
        suites: ['bookworm-security'],
        components: ['main', 'non-free'],
        options: { 'check-valid-until': 'no' },
      },
    ]);
  });

  test('a stanza that is written reads the same', () => {
    const [entry] = parseDeb822(
      `Types: deb\nURIs: http://a/\nSuites: s\nComponents: main\nSigned-By:${key}\n`,
    );
    const written = stanzaFor(entry as never, 'deb-src', 's');
    expect(written).toMatch(/^types: deb-src$/m);
    expect(parseDeb822(written)).toEqual([entry]);
  });

  test('nothing makes the readers throw', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('deb', ' ', '\n', ':', '[', ']', 'Types', '#', '\t') }),
        (s) => {
          parseOneLine(s);
          parseDeb822(s);
        },
      ),
    );
  });
});

describe('suites', () => {
  const entry = (uri: string, ...suites: string[]) => ({
    uris: [uri],
    suites,
    components: ['main'],
    options: {},
  });

  test('groups follow the host’s release; an unknown release has no next', () => {
    expect(groupsFor('bookworm')).toEqual({
      stable: ['bookworm-security', 'bookworm-updates', 'bookworm'],
      backports: ['bookworm-backports'],
      next: ['trixie-security', 'trixie-updates', 'trixie'],
    });
    expect(groupsFor('other')).not.toHaveProperty('next');
  });

  test('hosts are those of the counterpart in the host’s own release', () => {
    const [main, security] = [entry('m', 'bookworm', 'bookworm-updates'), entry('s', 'bookworm-security')];
    const all = [entry('third', 'bookworm'), main, security, entry('b', 'bookworm-backports')];
    expect(entriesFor(all, 'trixie', 'bookworm')).toEqual([main]);
    expect(entriesFor(all, 'trixie-security', 'bookworm')).toEqual([security]);
    expect(entriesFor(all, 'bookworm-backports', 'bookworm')).toEqual([entry('b', 'bookworm-backports')]);
    expect(entriesFor(all, 'bookworm', 'bookworm')).toEqual([main]);
  });

  test('one-line entries of one host belong together, and `stable` means the release', () => {
    const all = [entry('third', 'stable'), entry('m', 'stable'), entry('m', 'stable-updates')];
    expect(entriesFor(all, 'trixie', 'bookworm')).toEqual([entry('m', 'stable')]);
  });

  test('entries without `main` are third parties', () => {
    expect(
      entriesFor([{ ...entry('d', 'bookworm'), components: ['stable'] }], 'bookworm', 'bookworm'),
    ).toEqual([]);
  });
});

describe('the system', () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'lab-apt-'));
    await mkdir(join(root, 'etc/apt/sources.list.d'), { recursive: true });
    await writeFile(join(root, 'etc/os-release'), 'ID=debian\nVERSION_CODENAME=bookworm\n');
  });
  afterEach(() => rm(root, { recursive: true }));

  test('both forms are read, other files are not', async () => {
    await writeFile(join(root, 'etc/apt/sources.list'), 'deb http://a/ bookworm main\n');
    const stanza = 'Types: deb\nURIs: http://b/\nSuites: bookworm-security\nComponents: main\n';
    await writeFile(join(root, 'etc/apt/sources.list.d/b.sources'), stanza);
    await writeFile(join(root, 'etc/apt/sources.list.d/c.list.off'), 'deb http://c/ bookworm main\n');
    const system = await readAptSystem(root);
    expect(system.codename).toBe('bookworm');
    expect(system.entries.map(({ uris }) => uris[0])).toEqual(['http://a/', 'http://b/']);
  });

  test('no sources, or no Debian, is an error of its own', async () => {
    await expect(readAptSystem(root)).rejects.toMatchObject({ code: 'sources/no-apt' });
    await rm(join(root, 'etc'), { recursive: true });
    await expect(readAptSystem(root)).rejects.toMatchObject({ code: 'sources/no-apt', blame: 'host' });
  });
});

test('madison rows give versions newest first, once each, of the right kind', () => {
  const text = `
      qemu | 1:7.2+dfsg-7 | http://a/debian bookworm/main Sources
      qemu | 1:10.0.13+ds-0+deb13u1 | http://a/debian trixie/main Sources
      qemu | 1:10.0.13+ds-0+deb13u1 | http://b/debian trixie-updates/main Sources
      qemu | 1:7.2+dfsg-7 | http://a/debian bookworm/main amd64 Packages
`;
  expect(parseMadison(text, 'deb-src').get('qemu')).toEqual([
    { version: '1:10.0.13+ds-0+deb13u1', suite: 'trixie' },
    { version: '1:7.2+dfsg-7', suite: 'bookworm' },
  ]);
  expect(parseMadison(text, 'deb').get('qemu')).toEqual([{ version: '1:7.2+dfsg-7', suite: 'bookworm' }]);
  expect(parseMadison('', 'deb').size).toBe(0);
});

describe('Debian versions', () => {
  test.each([
    ['1.0', '1.0', 0],
    ['1.0~rc1', '1.0', -1],
    ['1.0', '1.0-1', -1],
    ['1.0-1', '1.0-1+b1', -1],
    ['1:0.9', '1.0', 1],
    ['1.10', '1.9', 1],
    ['1.0a', '1.0+', -1],
    ['1.7.0-1~bpo12+1', '1.7.0-1', -1],
    ['6.12.107-1~deb12u1', '6.12.94-1', 1],
    ['0', '', 0],
  ])('%s against %s: %i', (a, b, expected) => {
    expect(Math.sign(compareDebianVersions(a, b))).toBe(expected);
    expect(Math.sign(compareDebianVersions(b, a))).toBe(expected === 0 ? 0 : -expected);
  });

  test.each([
    ['1:10.0.13+ds-0+deb13u1', '10.0.13'],
    ['6.12.117-1~deb12u1', '6.12.117'],
    ['1:8.2.0~rc2+dfsg-1', '8.2.0-rc2'],
    ['1:7.2+dfsg-7+deb12u13', '7.2'],
  ])('the upstream version of %s is %s', (version, upstream) => {
    expect(upstreamOf(version)).toBe(upstream);
  });
});

describe('dependencies', () => {
  const answers: Record<string, string> = {
    server: `server
  PreDepends: init
 |Depends: debconf
  Depends: <debconf-2.0>
    cdebconf
    debconf
  Depends: <virtual>
    one
    two
  Depends: libc6:any
  Suggests: never
`,
    init: 'init\n  Depends: libc6\n',
  };

  test('alternatives and virtual packages become choices', () => {
    expect(parseDepends(answers.server ?? '')).toEqual([
      ['init'],
      ['debconf', 'cdebconf', 'debconf'],
      ['one', 'two'],
      ['libc6'],
    ]);
  });

  test('the closure takes first choices, honours what is chosen and leaves out what is omitted', async () => {
    const depends = async (names: readonly string[]) => names.map((name) => answers[name] ?? '').join('');
    const whole = await closureOf({ packages: ['server', 'two'] }, depends);
    expect(whole).toEqual(['server', 'two', 'init', 'debconf', 'libc6']);
    const less = await closureOf({ packages: ['server'], omit: ['debconf', 'init'] }, depends);
    expect(less).toEqual(['server', 'one', 'libc6']);
  });
});
