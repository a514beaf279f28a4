import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { ModuleIntakeRules } from '../../src/intake/module-rules.js';
import type { Submission } from '../../src/intake/submission.js';
import { takeInModules } from '../../src/intake/take-in-modules.js';
import { scaled } from '../../src/timeouts.js';
import { useTempFolder } from '../support/temp.js';

const temp = useTempFolder();
const timeouts = scaled(1);
const { signal } = new AbortController();

const rules: ModuleIntakeRules = {
  modules: [
    { name: 'disk', marks: [/\badd_disk\s*\(/, /"disk"/] },
    { name: 'greeter', marks: [/Good day/] },
  ],
  program: { name: 'tool', marks: [/\/dev\/disk/] },
};

const moduleText = (body: string) =>
  `#include <linux/module.h>\nstatic int __init i(void)\n{\n\t${body}\n\treturn 0;\n}\nmodule_init(i);\nMODULE_LICENSE("GPL");\n`;
const disk = moduleText('add_disk(0);');
const greeter = moduleText('pr_info("Good day\\n");');
const program = '#include <stdio.h>\nint main(void) { return !fopen("/dev/disk", "r"); }\n';

type Files = Readonly<Record<string, string>>;

async function fresh(name: string): Promise<string> {
  return await mkdtemp(join(temp.path, `${name}-`));
}

async function hand(files: Files): Promise<string> {
  const dir = await fresh('hand-in');
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), text);
  }
  return dir;
}

async function take(files: Files): Promise<Submission> {
  return await takeInModules(await hand(files), { rules, into: await fresh('into'), signal, timeouts });
}

/** What `git diff` says about the change from `before` to `after`. */
async function diff(before: Files, after: Files): Promise<string> {
  const dir = await hand({ 'kept.txt': 'kept\n', ...before });
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', dir, '-c', 'user.name=A', '-c', 'user.email=a@b.c', ...args], {
      encoding: 'utf8',
    });
  git('init', '-q');
  git('add', '-A');
  git('commit', '-qm', 'before');
  for (const [path, text] of Object.entries(after)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), text);
  }
  git('add', '-A');
  return git('diff', '--cached');
}

async function fileOf({ modules }: Submission, name: string, path: string): Promise<string> {
  return await readFile(join(modules?.[name]?.dir ?? '', path), 'utf8');
}

const facts = ({ problems }: Submission) => problems.map(({ fact }) => fact).join('; ');

describe('sources', () => {
  test('in folders of their own are told by their object', async () => {
    const taken = await take({
      'disk/disk.c': disk,
      'disk/Makefile': 'obj-m += disk.o\nall:\n\tmake -C /lib/modules/x M=$(PWD) modules\n',
      'greeter/greeter.c': greeter,
      'greeter/Kbuild': 'obj-m := greeter.o\n',
      'user/tool.c': program,
      'report.md': 'What I did\n',
    });
    expect(taken.problems).toEqual([]);
    expect(taken.changes).toEqual([]);
    expect(taken.modules?.disk).toMatchObject({ folder: 'disk', hadMakefile: true });
    expect(taken.modules?.disk?.files).not.toContain('disk/Kbuild');
    expect(taken.modules?.greeter).toMatchObject({ folder: 'greeter' });
    expect(taken.application?.origin).toBe('user/tool.c');
    expect(taken.report).toBe('report.md');
  });

  test('with one makefile are built one by one', async () => {
    const taken = await take({
      'disk.c': disk,
      'greeter.c': greeter,
      Makefile: 'NAME := greeter\nobj-m := disk.o \\\n\t$(NAME).o # both\n',
    });
    expect(await fileOf(taken, 'disk', 'Kbuild')).toBe('include $(src)/Makefile\nobj-m := disk.o\n');
    expect(await fileOf(taken, 'greeter', 'Kbuild')).toBe('include $(src)/Makefile\nobj-m := greeter.o\n');
    expect(taken.changes.join()).toMatch(/of what Makefile makes, disk.ko was built by itself/);
  });

  test('without a makefile get one', async () => {
    const taken = await take({
      'main.c': `#include "queue.h"\n${disk}`,
      'queue.c': 'int q;\n',
      'queue.h': '',
    });
    expect(await fileOf(taken, 'disk', 'Kbuild')).toBe('obj-m := disk.o\ndisk-y := main.o queue.o\n');
    expect(taken.modules?.disk).toMatchObject({ hadMakefile: false });
    expect(taken.changes.join()).toMatch(/main.c, queue.c came without a makefile/);
    expect(taken.modules?.greeter).toBeUndefined();
  });

  test('of the module’s own name and with helpers are renamed', async () => {
    const taken = await take({
      'disk.c': `#include "queue.h"\n${disk}`,
      'queue.c': 'int q;\n',
      'queue.h': '',
    });
    expect(await fileOf(taken, 'disk', 'Kbuild')).toBe('obj-m := disk.o\ndisk-y := disk_main.o queue.o\n');
    expect(await fileOf(taken, 'disk', 'disk_main.c')).toContain('add_disk');
    expect(taken.modules?.disk?.files).not.toContain('disk.c');
  });

  test('under another name are taken by what they hold, and built under the name of the exercise', async () => {
    const taken = await take({
      'driver/vblk_main.c': disk,
      'driver/vblk_io.c': 'int io;\n',
      'driver/Kbuild': 'obj-m := vblk.o\nvblk-objs := vblk_main.o vblk_io.o\n',
    });
    expect(await fileOf(taken, 'disk', 'driver/Kbuild')).toBe(
      'include $(src)/Kbuild.handed-in\nobj-m := disk.o\ndisk-y := $(or $(strip $(vblk-y) $(vblk-objs)),vblk.o)\n',
    );
    expect(await fileOf(taken, 'disk', 'driver/Kbuild.handed-in')).toContain('vblk-objs');
    expect(taken.changes.join()).toMatch(/makes vblk.ko; it was built as disk.ko/);
  });

  test('in folders with unusual names are kept beside what they include', async () => {
    const taken = await take({
      'Übung 2/driver/disk.c': `#include "../common/disk.h"\n${disk}`,
      'Übung 2/common/disk.h': '#define X 1\n',
    });
    expect(taken.modules?.disk?.files).toEqual([
      '_bung_2/common/disk.h',
      '_bung_2/driver/Kbuild',
      '_bung_2/driver/disk.c',
    ]);
    expect(taken.modules?.disk?.folder).toBe('_bung_2/driver');
  });

  test('that are missing leave a built module, which is never taken', async () => {
    const taken = await take({ 'disk.ko': '\x7fELF\0', Makefile: 'obj-m := disk.o\n' });
    expect(taken.modules).toEqual({});
    expect(facts(taken)).toMatch(/no source of a kernel module/);
    expect(taken.changes.join()).toMatch(/left out 1 build product/);
  });

  test('of two students are not mixed', async () => {
    const taken = await take({ 'ana/disk.c': disk, 'ben/disk.c': `${disk}\n` });
    expect(facts(taken)).toMatch(/2 hand-ins in one: ana, ben/);
    expect(taken.modules).toEqual({});
  });
});

describe('patches', () => {
  test('that add a driver to Linux give its source, and the lines of the makefile', async () => {
    const patch = await diff(
      { 'drivers/block/Makefile': 'obj-y += x.o\n', 'drivers/block/Kconfig': 'menu\n' },
      {
        'drivers/block/disk.c': disk,
        'drivers/block/Makefile': 'obj-y += x.o\nobj-$(CONFIG_DISK) += disk.o\n',
        'drivers/block/Kconfig': 'menu\nconfig DISK\n\ttristate "disk"\n',
      },
    );
    const taken = await take({ 'linux.patch': patch });
    expect(taken.problems).toEqual([]);
    expect(await fileOf(taken, 'disk', 'drivers/block/disk.c')).toBe(disk);
    expect(await fileOf(taken, 'disk', 'drivers/block/Kbuild')).toBe(
      'include $(src)/Makefile\nobj-m := disk.o\n',
    );
    expect(await fileOf(taken, 'disk', 'drivers/block/Makefile')).toBe('obj-$(CONFIG_DISK) += disk.o\n');
    expect(taken.changes.join('; ')).toMatch(
      /1 added file taken as sources.*passed over drivers\/block\/Kconfig/,
    );
  });

  test('that add files anywhere give these, from git and from diff -urN', async () => {
    const patch = await diff(
      {},
      { 'greeter/greeter.c': greeter, 'greeter/Makefile': 'obj-m := greeter.o\n' },
    );
    const old = patch
      .replace(/^diff --git.*\nnew file.*\nindex.*\n/gm, '')
      .replaceAll('--- /dev/null', '--- /home/ana/old/x\t1970-01-01 01:00:00.000000000 +0100')
      .replace(/^\+\+\+ b\/(\S+)/gm, '+++ /home/ana/work/$1\t2024-01-18 12:00:00.000000000 +0100');
    for (const text of [patch, old]) {
      const taken = await take({ 'mine.diff': text });
      expect(facts(taken)).toBe('');
      expect(taken.modules?.greeter?.hadMakefile).toBe(true);
    }
  });

  test('that change anything else of the kernel are refused', async () => {
    const patch = await diff(
      { 'kernel/sched/core.c': 'int a;\n' },
      { 'kernel/sched/core.c': 'int b;\n', 'drivers/block/disk.c': disk },
    );
    const taken = await take({ 'linux.patch': patch });
    expect(taken.modules).toEqual({});
    expect(taken.problems[0]).toMatchObject({
      fact: expect.stringMatching(/linux.patch was not used: it changes or removes 1 file/),
      evidence: ['kernel/sched/core.c'],
    });
  });

  test('that make links are refused', async () => {
    const patch = `diff --git a/disk.c b/disk.c\nnew file mode 120000\n--- /dev/null\n+++ b/disk.c\n@@ -0,0 +1 @@\n+/etc/passwd\n\\ No newline at end of file\n`;
    const taken = await take({ 'x.patch': patch });
    expect(facts(taken)).toMatch(/was not used: it renames files, makes links/);
  });
});
