import { execFileSync } from 'node:child_process';
import { chmod, cp, mkdir, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import type { StepEvent } from '../../src/events.js';
import type { PrepareOptions, SourceChoice } from '../../src/lab/prepare.js';
import { grading } from '../../src/labs/my-rng/grading.js';
import { lab } from '../../src/labs/my-rng/lab.js';
import { storeSource } from '../../src/sources/library.js';
import { scaled } from '../../src/timeouts.js';
import { makeWork, type WorkPart, workParts } from '../../src/workfolder/make.js';
import { type MadePatch, makePatches, writePatches } from '../../src/workfolder/patches.js';
import { readBack } from '../../src/workfolder/read-back.js';
import { findWork, writeRecord } from '../../src/workfolder/record.js';
import { labInWork } from '../../src/workfolder/use.js';
import { linuxFiles, qemuFiles, writeAll } from '../support/intake-trees.js';
import { quietStep } from '../support/quiet-step.js';
import { useTempFolder } from '../support/temp.js';

const temp = useTempFolder();
const timeouts = scaled(1);
let notes: string[] = [];
let dir = '';
let count = 0;
const context = () => ({
  signal: new AbortController().signal,
  emit: (event: StepEvent) => {
    if (event.type === 'note') notes.push(event.text);
  },
});

/** Two vanilla trees of our own and, in `work`, a folder made of them. */
beforeEach(async () => {
  notes = [];
  count += 1;
  dir = join(temp.path, String(count));
  const version = 'VERSION = 6\nPATCHLEVEL = 6\nSUBLEVEL = 4\n';
  await writeAll(join(dir, 'q'), {
    ...{
      ...qemuFiles,
      VERSION: '8.2.0-rc2\n',
      configure: '# QEMU\n',
      'pc-bios/x.bin': Buffer.from([1, 0, 2]),
    },
    ...{ '.gitignore': '/generated.h\n', 'docs/a.rst': 'a\n', 'hw/misc/crlf.c': 'int a;\r\nint b;\r\n' },
  });
  await writeAll(join(dir, 'l'), {
    ...{ ...linuxFiles, Makefile: version, Kconfig: 'mainmenu\n', '.gitignore': '*.o\n.*\n*.lex.c\n' },
    ...{ 'tools/perf/p.c': 'int p;\n', 'security/keys/k.c': 'int k;\n' },
  });
});

function options(qemu: SourceChoice, linux: SourceChoice): PrepareOptions {
  return {
    ...{ lab, variant: 'module', qemu, linux, refresh: false, kernel: 'built', kernelConfig: 'lab' },
    ...{ instrumentation: [], qemuSanitizers: false, guest: 'auto', alpineMirrors: [], sourceMirrors: [] },
    ...{ qemuPatches: [], linuxPatches: [] },
  };
}

const at = (...path: string[]) => join(dir, 'work', ...path);

async function make(
  parts: readonly WorkPart[] = workParts,
  from = options({ path: join(dir, 'q') }, { path: join(dir, 'l') }),
) {
  return await makeWork({ options: from, folder: at(), parts }, context(), timeouts);
}

async function patches(force = false, folder = at()): Promise<MadePatch[]> {
  const work = await findWork(folder);
  if (grading.rules === undefined) throw new Error('no rules');
  return await makePatches({ lab, work, rules: grading.rules, force }, context(), timeouts);
}

describe('lab work', () => {
  test('copies the trees with the skeleton in them and shares no file with their sources', async () => {
    expect((await make()).made).toEqual(['qemu', 'linux', 'module']);
    expect((await readdir(at())).sort()).toEqual(['lab-work.json', 'linux', 'module', 'my-app.c', 'qemu']);
    expect(await readFile(at('qemu/hw/misc/my-rng.c'), 'utf8')).toContain('TODO');
    expect(await readFile(at('qemu/hw/misc/meson.build'), 'utf8')).toContain("files('my-rng.c')");
    expect(await readFile(at('linux/init/main.c'), 'utf8')).toMatch(
      /do_sysctl_args\(\);\n\n\t\/\*\n\t \* TODO/,
    );
    expect(await readFile(at('module/my-rng.c'), 'utf8')).toBe(
      await readFile(at('linux/drivers/misc/my-rng.c'), 'utf8'),
    );
    await writeFile(at('qemu/hw/misc/edu.c'), 'edited\n');
    expect(await readFile(join(dir, 'q/hw/misc/edu.c'), 'utf8')).toBe(qemuFiles['hw/misc/edu.c']);
    expect((await stat(at('linux/init/main.c'))).nlink).toBe(1);
    expect(notes.filter((note) => note.startsWith('copying'))).toHaveLength(2);
  });

  test("leaves version control and builds in a tree of the user's own there", async () => {
    await writeAll(join(dir, 'q'), { '.git/HEAD': 'ref\n', 'build/qemu.o': 'x' });
    await make(['qemu']);
    expect(await readdir(at('qemu'))).not.toContain('.git');
    expect(await readdir(at('qemu'))).not.toContain('build');
    expect((await patches())[0]?.files.map(({ kind }) => kind)).toEqual(['changed', 'changed', 'added']);
  });

  test('run again, adds what is missing and keeps what was edited', async () => {
    await make(['qemu']);
    await writeFile(at('qemu/hw/misc/my-rng.c'), 'mine\n');
    expect((await make()).made).toEqual(['linux', 'module']);
    expect((await make()).made).toEqual([]);
    await rm(at('my-app.c'));
    expect((await make()).made).toEqual(['module']);
    expect(await readFile(at('qemu/hw/misc/my-rng.c'), 'utf8')).toBe('mine\n');
  });

  test('removes what an interrupted copy left, and makes it anew', async () => {
    await make(['module']);
    expect(await readFile(at('module/my-rng.c'), 'utf8')).toContain('TODO');
    await mkdir(at('.linux.part/drivers'), { recursive: true });
    expect((await make(['linux'])).made).toEqual(['linux']);
    expect(await readdir(at())).not.toContain('.linux.part');
    expect(await readdir(at('linux'))).toContain('init');
  });

  test('leaves a folder alone that is not its own, or of another source', async () => {
    await mkdir(at(), { recursive: true });
    await writeFile(at('thesis.tex'), '');
    await expect(make()).rejects.toMatchObject({ code: 'work/foreign-folder', blame: 'user' });
    expect(await readdir(at())).toEqual(['thesis.tex']);
    await rm(at('thesis.tex'));
    await make();
    const other = options({ path: join(dir, 'l') }, { path: join(dir, 'l') });
    await expect(make(['qemu'], other)).rejects.toMatchObject({ code: 'work/other-source' });
    await writeFile(at('lab-work.json'), '{}');
    await expect(make()).rejects.toMatchObject({ code: 'work/record' });
  });
});

describe('lab patch', () => {
  /** What patch(1) makes of the vanilla tree, in a copy. */
  async function applied(made: MadePatch): Promise<string> {
    const copy = join(dir, `applied-${made.project}`);
    await cp(join(dir, made.project === 'qemu' ? 'q' : 'l'), copy, { recursive: true });
    execFileSync('patch', ['-p1', '--fuzz=0', '--batch', '-s'], {
      cwd: copy,
      input: Buffer.from(made.text, 'latin1'),
    });
    return copy;
  }

  test('makes of the vanilla trees what is in the work trees, named as the exercise wants it', async () => {
    await make();
    await writeFile(
      at('qemu/hw/misc/my-rng.c'),
      Buffer.from('int \xe9; /* no newline at the end */', 'latin1'),
    );
    await rm(at('qemu/docs/a.rst'));
    const made = await patches();
    expect(made.map(({ name }) => name)).toEqual(['qemu-8.2.0-rc2.patch', 'linux-6.6.4.patch']);
    for (const patch of made) {
      const copy = await applied(patch);
      expect(execFileSync('diff', ['-rN', copy, at(patch.project)], { encoding: 'utf8' })).toBe('');
    }
    expect(made[0]?.files).toEqual([
      { path: 'docs/a.rst', kind: 'deleted' },
      { path: 'hw/misc/Kconfig', kind: 'changed' },
      { path: 'hw/misc/meson.build', kind: 'changed' },
      { path: 'hw/misc/my-rng.c', kind: 'added' },
    ]);
  });

  test('gives the same bytes whenever and wherever it is made', async () => {
    await make();
    const first = await patches();
    await utimes(at('qemu/hw/misc/my-rng.c'), 1, 1);
    await cp(at(), join(dir, 'moved'), { recursive: true, verbatimSymlinks: true });
    const second = await patches(false, join(dir, 'moved'));
    expect(second.map(({ text }) => text)).toEqual(first.map(({ text }) => text));
    expect(first[0]?.text).not.toMatch(/\d\d:\d\d|\/tmp/);
  });

  test('leaves out what builds and editors leave, and says so', async () => {
    await make();
    await writeAll(at('linux'), {
      ...{ 'drivers/misc/my-rng.o': '\x7fELF', 'drivers/misc/.my-rng.o.cmd': 'x', '.config': 'CONFIG_X=y\n' },
      ...{ 'scripts/kconfig/conf': '\x7fELF\x02', 'scripts/kconfig/lexer.lex.c': 'int l;\n' },
      ...{ 'include/generated/autoconf.h': '#define X\n', 'init/main.c.orig': 'x\n', 'init/main.c~': 'x\n' },
    });
    await writeAll(at('qemu'), {
      ...{
        'generated.h': '#define G\n',
        'hw/misc/.my-rng.c.swp': 'b0VIM',
        'build/config.h': 'x\n',
        GNUmakefile: 'x\n',
      },
    });
    const [qemu, linux] = await patches();
    expect(linux?.files.map(({ path }) => path)).toEqual([
      'drivers/misc/Kconfig',
      'drivers/misc/Makefile',
      'drivers/misc/my-rng.c',
      'init/main.c',
    ]);
    expect(linux?.leftOut.map(({ path, why }) => `${path}: ${why}`)).toEqual([
      '.config: build product',
      'drivers/misc/.my-rng.o.cmd: build product',
      'drivers/misc/my-rng.o: build product',
      'include/generated/autoconf.h: build product',
      'init/main.c.orig: left by an editor or by patch',
      'init/main.c~: left by an editor or by patch',
      'scripts/kconfig/conf: build product (by its content)',
      'scripts/kconfig/lexer.lex.c: named in .gitignore',
    ]);
    expect(qemu?.leftOut.map(({ path }) => path)).toEqual(['generated.h', 'hw/misc/.my-rng.c.swp']);
    expect(qemu?.text).not.toMatch(/GNUmakefile|build\/config\.h/);
  });

  test('a rule that hides folders of the vanilla tree hides no source of the student', async () => {
    await writeFile(join(dir, 'l/.gitignore'), '/*\n');
    await make();
    const [, linux] = await patches();
    expect(linux?.files.map(({ path }) => path)).toContain('drivers/misc/my-rng.c');
  });

  test.each([
    ['a binary file', 'hw/misc/logo.png', Buffer.from([0x89, 0x50, 0, 1])],
    ['a binary file', 'pc-bios/x.bin', Buffer.from([1, 0, 3])],
    ['an empty file', 'hw/misc/empty.c', ''],
    ['its name has blanks or special characters', 'hw/misc/my rng.c', 'int a;\n'],
    ['no source is that large (2 MB)', 'hw/misc/table.c', '0,\n'.repeat(700_000)],
  ])('refuses %s (%s), and leaves it out when forced', async (why, path, data) => {
    await make();
    await writeAll(at('qemu'), { [path]: data });
    const evidence = [`qemu/${path}: ${why}`];
    await expect(patches()).rejects.toMatchObject({ code: 'work/refused', blame: 'submission', evidence });
    const [qemu] = await patches(true);
    expect(qemu?.leftOut).toContainEqual({ path, why });
    expect(qemu?.text).not.toContain(path);
  });

  test('refuses links', async () => {
    await make();
    await symlink('/etc/passwd', at('linux/drivers/misc/link.c'));
    await rm(at('linux/drivers/char/mem.c'));
    await symlink('../misc/misc0.c', at('linux/drivers/char/mem.c'));
    await expect(patches()).rejects.toMatchObject({
      evidence: ['linux/drivers/char/mem.c: a symbolic link', 'linux/drivers/misc/link.c: a symbolic link'],
    });
  });

  test('warns of Windows line ends, blanks, modes, and changes where none are expected', async () => {
    await make();
    await writeFile(at('qemu/hw/misc/my-rng.c'), 'int a;\r\nint b; \r\n');
    await chmod(at('qemu/hw/misc/Kconfig'), 0o755);
    await writeFile(at('qemu/scripts/checkpatch.pl'), 'exit 0;\n');
    await writeFile(at('qemu/hw/pci/pci.c'), `${qemuFiles['hw/pci/pci.c']}int more;\n`);
    const [qemu] = await patches();
    expect(qemu?.warnings.map(({ path, why }) => `${path}: ${why}`)).toEqual([
      'hw/misc/Kconfig: its executable bit, which no patch carries',
      'hw/misc/my-rng.c: Windows line ends (CR LF): convert it, dos2unix',
      'scripts/checkpatch.pl: changed, but the exercise leaves its folder out',
      'hw/misc/my-rng.c: blanks at the end of a line or before a tab: line 2',
      'hw/pci/pci.c: not where the work for this exercise usually is: is it meant?',
    ]);
    expect(qemu?.text).not.toContain('checkpatch');
    await applied(qemu as MadePatch);
  });

  test('notices that the vanilla source is not the one it was, that nothing was changed, and another version', async () => {
    await make(['qemu']);
    await rm(at('qemu/hw/misc/my-rng.c'));
    for (const name of ['hw/misc/Kconfig', 'hw/misc/meson.build'])
      await cp(join(dir, 'q', name), at('qemu', name));
    await expect(patches()).rejects.toMatchObject({ code: 'work/nothing' });
    await writeAll(
      at('qemu'),
      Object.fromEntries(Array.from({ length: 301 }, (_, i) => [`hw/${i}.c`, `int a${i};\n`])),
    );
    await expect(patches()).rejects.toMatchObject({ code: 'work/foreign', blame: 'user' });
    await writeFile(join(dir, 'q/hw/misc/edu.c'), 'changed\n');
    await expect(patches()).rejects.toMatchObject({ code: 'work/no-pristine' });
    await expect(patches(false, dir)).rejects.toMatchObject({ code: 'work/none' });
  });

  test('a version that stands in is found again by its digest alone, and the name stays', async () => {
    await make(['qemu']);
    const work = await findWork(at());
    const { qemu } = work.record.trees;
    await mkdir(join(temp.path, 'cache/lab/sources'), { recursive: true });
    const copy = join(temp.path, 'cache/lab/sources', 'unpacked');
    await cp(join(dir, 'q'), copy, { recursive: true });
    const origin = { kind: 'debian', detail: 'suite: qemu 8.2.2' } as const;
    const stored = {
      project: 'qemu',
      version: '8.2.2',
      origin,
      digest: 'd'.repeat(64),
      patched: [],
    } as const;
    await storeSource(copy, { ...stored, answers: ['8.2.0-rc2'] });
    if (qemu === undefined) throw new Error('no tree');
    const from = { ...qemu, version: '8.2.2', origin, digest: stored.digest, path: undefined };
    await writeRecord({ folder: at(), record: { ...work.record, trees: { qemu: from } } });
    const [made] = await patches();
    expect(made?.name).toBe('qemu-8.2.0-rc2.patch');
    expect(made?.source).toMatchObject({ version: '8.2.2', wanted: '8.2.0-rc2', fresh: false });
    expect(notes.at(-1)).toContain('stands in for 8.2.0-rc2');
  });

  test('a grader reads them without a remark', async () => {
    await make();
    const made = await patches();
    const folder = join(dir, 'hand-in');
    await writePatches(folder, made, { lab, force: false });
    const into = join(dir, 'reading');
    await mkdir(into);
    if (grading.rules === undefined) throw new Error('no rules');
    const { signal } = new AbortController();
    const read = await readBack(folder, made, { rules: grading.rules, into, signal, timeouts });
    expect(read.problems).toEqual([]);
    expect(read.changes).toEqual([]);
    expect(read.parts.qemu?.files.map(({ path }) => path)).toEqual(made[0]?.files.map(({ path }) => path));
    expect(read.parts.linux?.files.map(({ path }) => path)).toEqual(made[1]?.files.map(({ path }) => path));
  });

  test('replaces its own patches, removes those that are no more, and keeps those of others', async () => {
    await make();
    const made = await patches();
    const folder = join(dir, 'hand-in');
    await writePatches(folder, made, { lab, force: false });
    await writePatches(folder, made.slice(0, 1), { lab, force: false });
    expect(await readdir(folder)).toEqual(['qemu-8.2.0-rc2.patch']);
    await writeFile(join(folder, 'linux-6.6.4.patch'), 'my own\n');
    await expect(writePatches(folder, made, { lab, force: false })).rejects.toMatchObject({
      code: 'work/exists',
    });
    expect(await writePatches(folder, made, { lab, force: true })).toHaveLength(2);
  });
});

describe('lab up --work', () => {
  const used = async () => await labInWork(lab, await findWork(at()), { step: quietStep(), timeouts });

  test("the student's files take the place of the lab's, on the sources that they belong to", async () => {
    await make();
    await writeFile(at('linux/drivers/misc/my-rng.o'), '\x7fELF');
    const { lab: mine, qemu, linux } = await used();
    expect(mine.qemu.map((item) => (item.kind === 'file' ? item.from : item.kind))).toEqual(
      ['Kconfig', 'meson.build', 'my-rng.c'].map((name) => at('qemu/hw/misc', name)),
    );
    expect(mine.variants['built-in']?.contributions).toHaveLength(4);
    expect(mine.variants.module?.contributions).toEqual([]);
    expect(mine.modules.my_rng).toBe(at('module'));
    expect(mine.programs['my-app']).toBe(at('my-app.c'));
    expect(mine.programs['my-rng-probe']).toBe(lab.programs['my-rng-probe']);
    expect(qemu).toMatchObject({ path: join(dir, 'q') });
    expect(linux).toMatchObject({ path: join(dir, 'l') });
  });

  test('what the student deleted is not built', async () => {
    await make();
    await rm(at('qemu/hw/misc/edu.c'));
    const { lab: mine } = await used();
    expect(mine.qemu).toContainEqual({ kind: 'removal', path: 'hw/misc/edu.c' });
    expect(mine.qemu.filter(({ kind }) => kind === 'file')).toHaveLength(3);
  });

  test('what the folder has not stays as it ships', async () => {
    await make(['module']);
    const { lab: mine, qemu, linux } = await used();
    expect(mine.qemu).toBe(lab.qemu);
    expect(mine.variants).toEqual(lab.variants);
    expect(mine.modules.my_rng).toBe(at('module'));
    expect([qemu, linux]).toEqual([undefined, undefined]);
  });
});
