import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { chooseOne } from '../../src/intake/choose.js';
import { idOf, isBuildProduct, isJunk, plainName, sizeInWords, staysInside } from '../../src/intake/names.js';
import { normalisePatch } from '../../src/intake/normalise.js';
import { writePatch } from '../../src/intake/patch.js';
import { looksLikePatch, parsePatch } from '../../src/intake/patch-parse.js';
import { sectionsIn } from '../../src/intake/patch-read.js';
import { addedPieces } from '../../src/intake/pieces.js';
import { isAllowed } from '../../src/intake/rules.js';
import { plainText } from '../../src/intake/text.js';
import type { Trees } from '../../src/intake/trees.js';
import { intakeRules } from '../../src/labs/my-rng/grading/intake-rules.js';
import { makeTrees, qemuFiles } from '../support/intake-trees.js';
import { useTempFolder } from '../support/temp.js';

const folder = useTempFolder();
let trees: Trees;

beforeAll(async () => {
  trees = await makeTrees(join(folder.path, 'pristine'));
});

const hunk = '@@ -1,2 +1,3 @@ int main\n one\n+two\n three\n';

describe('names', () => {
  test.each([
    ['a/b.c', { name: 'a/b.c' }],
    ['./a//b.c', { name: 'a/b.c' }],
    ['a\\b.c', { name: 'a/b.c' }],
    ['../a', { refused: 'leaves the folder that it is unpacked to' }],
    ['a/../../b', { refused: 'leaves the folder that it is unpacked to' }],
    ['..\\a', { refused: 'leaves the folder that it is unpacked to' }],
    ['/etc/passwd', { refused: 'is an absolute name' }],
    ['C:\\x', { refused: 'is an absolute name' }],
    ['a\u0000b', { refused: 'holds control characters' }],
    ['x'.repeat(300), { refused: 'is too long for a file name' }],
  ])('%j', (raw, expected) => {
    expect(plainName(raw)).toEqual(expected);
  });

  test('links within and out of a folder', () => {
    expect(staysInside('a/b', '../c')).toBe(true);
    expect(staysInside('a/b', '../../c')).toBe(false);
    expect(staysInside('a/b', '/c')).toBe(false);
  });

  test('ids are safe as names of folders', () => {
    expect(idOf('Müller, Jürgen (3).tar.gz')).toBe('Muller-Jurgen-3');
    expect(idOf('..')).toBe('hand-in');
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (name) => /^(?!\.)[A-Za-z0-9._-]{1,80}$/.test(idOf(name))),
    );
  });

  test('build products and junk', () => {
    const products = [
      'a.o',
      'x/.git/config',
      'build/a',
      'vmlinux',
      'b/qemu-system-x86_64',
      '.config',
      'drivers/.my-rng.o.cmd',
    ];
    expect(products.filter((name) => !isBuildProduct(name))).toEqual([]);
    const kept = ['my-rng.c', 'Kconfig', 'meson.build', 'q.patch', 'Makefile', 'init/main.c', 'builds/x.c'];
    expect(kept.filter(isBuildProduct)).toEqual([]);
    expect(isJunk('__MACOSX/a') && isJunk('a/._b') && isJunk('.DS_Store')).toBe(true);
    expect(isJunk('a/b.c')).toBe(false);
    expect([999, 4200, 3e8].map(sizeInWords)).toEqual(['999 bytes', '4 kB', '300 MB']);
  });

  test('allow-list', () => {
    const { qemu, linux } = intakeRules.projects;
    expect(
      ['hw/misc/my-rng.c', 'include/hw/misc/a.h', 'docs/a/b.rst'].every((path) => isAllowed(qemu, path)),
    ).toBe(true);
    expect(
      ['hw/misc', 'meson.build', 'xhw/misc/a', 'tests/a', '.github/x'].some((path) => isAllowed(qemu, path)),
    ).toBe(false);
    expect(isAllowed(linux, 'include/linux/my_rng.h')).toBe(true);
    expect(isAllowed(linux, 'include/linux/sub/my_rng.h')).toBe(false);
  });
});

describe('reading patches', () => {
  const namesOf = (text: string) => parsePatch(text).files.map(({ oldName, newName }) => [oldName, newName]);

  test.each([
    ['--- a/x\n+++ b/x\n', ['a/x', 'b/x']],
    ['--- a/x\t2023-11-01 10:00:00.0 +0100\n+++ b/x\t2023-11-01 10:00:01.0 +0100\n', ['a/x', 'b/x']],
    ['--- a/x 2023-11-01 10:00:00\n+++ b/x Wed Nov  1 10:00:01 2023\n', ['a/x', 'b/x']],
    [
      '--- "a/\\303\\274 \\"x\\""\n+++ b/a name with blanks\t\n',
      ['a/\u00c3\u00bc "x"', 'b/a name with blanks'],
    ],
    ['--- /dev/null\n+++ b/x\n', [undefined, 'b/x']],
    ['--- a/x\n+++ b/dev/null\n', ['a/x', undefined]],
    ['--- a/dev/null\t1970-01-01\n+++ b/x\n', [undefined, 'b/x']],
  ])('names %j', (head, names) => {
    expect(namesOf(`${head}${hunk}`)).toEqual([names]);
  });

  test('a file that is dated 1970 does not exist, when the hunk agrees', () => {
    const dates = '--- a/x\t1970-01-01 01:00:00.000000000 +0100\n+++ b/x\t2023-11-01 10:00:00\n';
    expect(namesOf(`${dates}@@ -0,0 +1 @@\n+a\n`)).toEqual([[undefined, 'b/x']]);
    expect(namesOf(`${dates}${hunk}`)).toEqual([['a/x', 'b/x']]);
    const gone = '--- a/x\t2023-11-01 10:00:00\n+++ b/x\tThu Jan  1 01:00:00 1970\n@@ -1 +0,0 @@\n-a\n';
    expect(namesOf(gone)).toEqual([['a/x', undefined]]);
  });

  test('a context line that lost its only blank', () => {
    const parsed = parsePatch('--- a/x\n+++ b/x\n@@ -1,3 +1,4 @@\n one\n\n+two\n three\n');
    expect(parsed.files[0]?.hunks[0]?.lines).toEqual([' one', ' ', '+two', ' three']);
    expect(parsed.repairs).toEqual([]);
  });

  test('lines that look like headers or signatures within hunks', () => {
    const lines = ['--- a', '+++ b', ' c'];
    const parsed = parsePatch(`--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n${lines.join('\n')}\n-- \n2.39.2\n`);
    expect(parsed.files).toHaveLength(1);
    expect(parsed.files[0]?.hunks[0]?.lines).toEqual(lines);
    expect(parsed.faults).toEqual([]);
  });

  test('lines that no header counts are said to be ignored', () => {
    expect(parsePatch(`--- a/x\n+++ b/x\n${hunk}+four\n`).repairs).toEqual([
      'line 7 and what follows it is not counted by the hunk before it and was ignored',
    ]);
  });

  test('too many and too few lines are faults, and the lines count', () => {
    for (const numbers of ['-1,9 +1,9', '-1,1 +1,3', '-1,2 +1,2']) {
      const parsed = parsePatch(`--- a/x\n+++ b/x\n${hunk.replace('-1,2 +1,3', numbers)}`);
      expect(parsed.faults, numbers).toHaveLength(1);
      expect(parsed.files[0]?.hunks[0]).toMatchObject({ oldCount: 2, newCount: 3 });
    }
  });

  test('the canonical form is read back as it was written', () => {
    const line = fc.stringMatching(/^[ -~]{0,20}$/);
    const change = fc.tuple(fc.constantFrom(' ', '+', '-'), line).map(([sign, text]) => sign + text);
    const body = fc
      .array(change, { minLength: 1, maxLength: 12 })
      .filter((lines) => lines.some((l) => /^[+-]/.test(l)));
    fc.assert(
      fc.property(fc.array(body, { minLength: 1, maxLength: 3 }), (bodies) => {
        const hunks = bodies.map((lines, i) => ({
          oldStart: i * 100 + 1,
          oldCount: lines.filter((l) => !l.startsWith('+')).length,
          newStart: i * 100 + 1,
          newCount: lines.filter((l) => !l.startsWith('-')).length,
          section: '',
          lines,
        }));
        const text = writePatch([
          { path: 'hw/x.c', kind: 'changed', hunks: hunks.map((h) => ({ ...h, line: 1 })) },
        ]);
        const [section] = sectionsIn(text);
        expect(section).toMatchObject({ path: 'hw/x.c', kind: 'changed', hunks });
      }),
    );
  });
});

describe('hostile input', () => {
  const word = fc.constantFrom(
    ...[
      '--- ',
      '+++ ',
      '@@ -1 +1 @@',
      '@@ -1,999999999 +0,0 @@',
      'diff --git a/x b/x',
      '\n',
      '\n\n',
      ' ',
      '+',
      '-',
      '\\ No newline',
    ],
    ...[
      'a/hw/misc/my-rng.c',
      '/dev/null',
      '../../',
      '"a\\',
      '\t1970-01-01',
      'GIT binary patch\n',
      'rename from x\n',
      'rename to /y\n',
    ],
    ...[
      'From 0123456789 Mon',
      'Subject: [PATCH 1/2]\n',
      'new file mode 120000\n',
      'Only in a: b\n',
      'Binary files a and b differ\n',
      '\u0000',
      '\r\n',
    ],
  );
  const anything = fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    fc.array(word, { maxLength: 60 }).map((words) => Buffer.from(words.join(''), 'latin1')),
  );

  test('never throws, and what comes out are plain paths that may be touched', () => {
    fc.assert(
      fc.property(anything, (data) => {
        const { text } = plainText(data);
        looksLikePatch(text);
        const patch = normalisePatch('x.patch', text, { trees, rules: intakeRules });
        for (const project of ['qemu', 'linux'] as const) {
          for (const { path } of patch.sections[project]) {
            expect(path).toMatch(/^(?!.*\.\.\/)[\w@%+=:,.-][\w@%+=:,./-]*$/);
            expect(isAllowed(intakeRules.projects[project], path)).toBe(true);
          }
        }
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ['blank lines in a hunk', `--- a/x\n+++ b/x\n@@ -1,9999999 +1,9999999 @@\n${'\n'.repeat(1e6)}`],
    ['returns', '\r'.repeat(1e6)],
    ['blanks in a name', `--- a${' '.repeat(1e6)}b\n+++ x\n${hunk}`],
    ['dates in a name', `--- a\t${'Jan 1 '.repeat(1e5)}\n+++ x\n${hunk}`],
    ['folders in a name', `--- ${'a/'.repeat(1e5)}\n+++ ${'hw/misc/'.repeat(1e5)}x\n${hunk}`],
    ['headers', '--- a\n+++ b\n@@ -1 +1 @@\n'.repeat(1e5)],
    ['escapes', `--- "${'\\"'.repeat(1e5)}\n+++ x\n${hunk}`],
  ])('%s by the hundred thousand are read in linear time', (_, text) => {
    const plain = plainText(Buffer.from(text, 'latin1')).text;
    expect(looksLikePatch(plain)).toBe(plain.includes('@@'));
    expect(normalisePatch('x', plain, { trees, rules: intakeRules }).sections.linux).toEqual([]);
  });
});

describe('pieces of build files', () => {
  const [kconfig, meson] = intakeRules.projects.qemu.buildFiles;
  const pristine = {
    kconfig: qemuFiles['hw/misc/Kconfig'] ?? '',
    meson: qemuFiles['hw/misc/meson.build'] ?? '',
  };

  test('stanzas end where the next keyword begins', () => {
    if (kconfig === undefined) throw new Error('no rule');
    const text = `${pristine.kconfig}\nconfig MY_RNG\n    bool\n\n    default y\nconfig OTHER\n    bool\nsource x/Kconfig\n`;
    expect(addedPieces(kconfig, text, pristine.kconfig)).toBe('\nconfig MY_RNG\n    bool\n\n    default y\n');
    expect(addedPieces(kconfig, pristine.kconfig, pristine.kconfig)).toBeUndefined();
  });

  test('a statement of the tree that was made longer is not taken', () => {
    if (meson === undefined) throw new Error('no rule');
    const text = "system_ss.add(files(\n  'dev1.c',\n  'my-rng.c',\n))\n";
    expect(addedPieces(meson, text, pristine.meson)).toBeUndefined();
    expect(addedPieces(meson, "# my-rng\nsystem_ss.add(files('my-rng.c'))\n", pristine.meson)).toBe(
      "system_ss.add(files('my-rng.c'))\n",
    );
  });
});

describe('choosing', () => {
  const of = (...names: string[]) => names.map((name) => ({ name, paths: ['x'] }));
  const chosen = (...names: string[]) => chooseOne(of(...names), { title: 'QEMU' });

  test('by name, then the first', () => {
    expect(chosen('a').why).toBeUndefined();
    expect(chosen('enhanced', 'guided').chosen).toMatchObject([{ name: 'guided' }]);
    expect(chosen('part2/q', 'part1/q').chosen).toMatchObject([{ name: 'part1/q' }]);
    expect(chosen('q', 'q-bonus').chosen).toMatchObject([{ name: 'q' }]);
    expect(chosen('z', 'y').chosen).toMatchObject([{ name: 'y' }]);
    expect(chosen('q-enhanced', 'b-enhanced').chosen).toMatchObject([{ name: 'b-enhanced' }]);
  });
});
