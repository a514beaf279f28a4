import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Contribution } from '../../src/build/contribution.js';
import { buildLinux } from '../../src/build/linux.js';
import { buildModule } from '../../src/build/module.js';
import { buildProgram } from '../../src/build/programs.js';
import { buildQemu } from '../../src/build/qemu.js';
import { LabError } from '../../src/errors.js';
import { run } from '../../src/host/run.js';
import { scaled } from '../../src/timeouts.js';
import { quietStep } from '../support/quiet-step.js';
import { smallLinux, smallQemu } from '../support/small-projects.js';
import { useTempFolder } from '../support/temp.js';

const temp = useTempFolder();
const timeouts = scaled(1);

async function failure(body: Promise<unknown>): Promise<LabError> {
  const error = await body.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof LabError) return error;
  throw new Error(`no LabError but ${String(error)}`);
}

async function device(name: string, text: string): Promise<Contribution> {
  const from = join(temp.path, name);
  await writeFile(from, text);
  return { kind: 'file', to: 'hw/misc/my-rng.c', from, blame: 'submission' };
}

describe('buildQemu', () => {
  it('builds once, reports real progress, and answers from the cache', async () => {
    const source = await smallQemu(join(temp.path, 'q1'));
    const step = quietStep();
    const contributions = [await device('q1.c', 'int my_rng(void) { int unused; return 0; }\n')];
    const qemu = await buildQemu({ source, contributions }, { step, timeouts });
    expect(qemu.fresh).toBe(true);
    expect(step.reports.at(-1)).toEqual([4, 4]);
    expect(qemu.warnings).toEqual([
      expect.objectContaining({ file: join(temp.path, 'q1.c'), line: 1, flag: '-Wunused-variable' }),
    ]);
    expect((await readdir(join(qemu.dir, 'share'))).length).toBe(14);
    await run(qemu.binary, [], { timeout: 10_000 });
    await run(qemu.img, [], { timeout: 10_000 });
    const again = await buildQemu({ source, contributions }, { step: quietStep(), timeouts });
    expect(again).toEqual({ ...qemu, fresh: false });
  });

  it('compiles only what was edited, and does not configure again', async () => {
    const source = await smallQemu(join(temp.path, 'q2'));
    await buildQemu({ source, contributions: [] }, { step: quietStep(), timeouts });
    const step = quietStep();
    const contributions = [await device('q2.c', 'int my_rng(void) { int x = 0; return x; }\n')];
    await buildQemu({ source, contributions }, { step, timeouts });
    expect(step.reports.map(([, total]) => total)).toEqual([3, 3, 3]);
    expect(step.lines.some((line) => line.startsWith('configured'))).toBe(false);
  });

  it('keeps a program that does not start out of the cache', async () => {
    const source = await smallQemu(join(temp.path, 'q5'));
    const contributions = [await device('q5.c', 'int my_rng(void) { return 7; }\n')];
    const build = () => buildQemu({ source, contributions }, { step: quietStep(), timeouts });
    expect((await failure(build())).code).toBe('run/failed');
    expect((await failure(build())).code).toBe('run/failed');
  });

  it('shows a compile error as one of the contributed file, blamed on its author', async () => {
    const source = await smallQemu(join(temp.path, 'q3'));
    const contributions = [await device('q3.c', 'int my_rng(void) { return missing; }\n')];
    const error = await failure(buildQemu({ source, contributions }, { step: quietStep(), timeouts }));
    expect(error).toMatchObject({ code: 'build/compile', blame: 'submission' });
    expect(error.evidence[0]).toMatch(/^\/.*\/q3\.c:1:27: error: .missing. undeclared/);
    expect(error.log === undefined ? '' : await readFile(error.log, 'utf8')).toContain('ninja');
    const repaired = [await device('q3.c', 'int my_rng(void) { return 0; }\n')];
    const { fresh } = await buildQemu({ source, contributions: repaired }, { step: quietStep(), timeouts });
    expect(fresh).toBe(true);
  });

  it("says which parts a checkout of the user's lacks", async () => {
    const source = await smallQemu(join(temp.path, 'q6'));
    await mkdir(join(source.tree, 'subprojects'));
    await writeFile(join(source.tree, 'subprojects/keycodemapdb.wrap'), '');
    const request = { source: { ...source, origin: { kind: 'path' as const } }, contributions: [] };
    const error = await failure(buildQemu(request, { step: quietStep(), timeouts }));
    expect(error).toMatchObject({ code: 'build/subprojects', blame: 'user' });
    expect(error.evidence).toEqual(['missing: subprojects/keycodemapdb']);
  });

  it('blames the host when no contributed file is at fault', async () => {
    const source = await smallQemu(join(temp.path, 'q4'));
    await writeFile(join(source.tree, 'configure'), '#!/bin/sh\necho no disk\nexit 1\n');
    const request = { source, contributions: [] };
    const error = await failure(buildQemu(request, { step: quietStep(), timeouts }));
    expect(error).toMatchObject({ code: 'build/failed', blame: 'host' });
  });
});

describe('buildLinux', () => {
  it('builds a kernel that stands alone: images, configuration, release, modules, a tree for modules', async () => {
    const source = await smallLinux(join(temp.path, 'l1'));
    const fragment = join(temp.path, 'l1.config');
    await writeFile(fragment, 'CONFIG_MINE=y\n# CONFIG_SMP is not set\n');
    const step = quietStep();
    const request = { source, config: 'lab' as const, fragments: [fragment], contributions: [] };
    const linux = await buildLinux(request, { step, timeouts });
    expect(linux).toMatchObject({ release: '6.6.6-small', version: '6.6.6', fresh: true });
    const config = (await readFile(linux.config, 'utf8')).split('\n');
    expect(config).toEqual(
      expect.arrayContaining(['CONFIG_64BIT=y', '# CONFIG_SMP is not set', 'CONFIG_MINE=y']),
    );
    expect(step.reports.map(([done]) => done)).toEqual([1, 2]);
    expect(await readdir(join(linux.modules, 'lib/modules/6.6.6-small'))).toEqual(['nbd.ko']);
    expect((await readdir(linux.kbuild)).sort()).toEqual([
      '.config',
      'Kbuild',
      'Makefile',
      'arch',
      'include',
      'scripts',
    ]);
    expect(await readdir(join(linux.kbuild, 'include'))).not.toContain('dt-bindings');
    await run(linux.bzImage, [], { timeout: 10_000 });
    const again = await buildLinux(request, { step: quietStep(), timeouts });
    expect(again).toEqual({ ...linux, fresh: false });
  });

  it('refuses a configuration that lost what was wanted', async () => {
    const source = await smallLinux(join(temp.path, 'l2'));
    const fragment = join(temp.path, 'l2.config');
    await writeFile(fragment, 'CONFIG_VANISHES=y\n');
    const request = { source, config: 'defconfig' as const, fragments: [fragment], contributions: [] };
    const error = await failure(buildLinux(request, { step: quietStep(), timeouts }));
    expect(error).toMatchObject({
      code: 'build/kconfig',
      evidence: ['CONFIG_VANISHES: wanted y, got nothing'],
    });
  });

  it('gives the symbols that a contribution adds their defaults, unless they are decided', async () => {
    const source = await smallLinux(join(temp.path, 'l4'));
    const fragment = join(temp.path, 'l4.config');
    await writeFile(fragment, '# CONFIG_DECIDED is not set\n');
    const text = 'config ADDED\n\tbool\n\tdefault y\n\nconfig DECIDED\n\tbool\n\tdefault y\n';
    const kconfig: Contribution = { kind: 'edit', path: 'drivers/misc/Kconfig', where: 'end', text };
    const request = { source, config: 'lab' as const, fragments: [fragment], contributions: [kconfig] };
    const linux = await buildLinux(request, { step: quietStep(), timeouts });
    const config = (await readFile(linux.config, 'utf8')).split('\n');
    expect(config).toEqual(expect.arrayContaining(['CONFIG_ADDED=y', '# CONFIG_DECIDED is not set']));
  });

  it('stops at once when it is told to, and the next call finishes', async () => {
    const source = await smallLinux(join(temp.path, 'l3'));
    const stop = new AbortController();
    const step = { ...quietStep(stop.signal), output: () => stop.abort() };
    const request = { source, config: 'lab' as const, contributions: [] };
    expect((await failure(buildLinux(request, { step, timeouts }))).code).toBe('interrupted');
    const { fresh } = await buildLinux(request, { step: quietStep(), timeouts });
    expect(fresh).toBe(true);
  });
});

describe('buildModule', () => {
  const vermagic = (release: string) =>
    `__attribute__((section(".modinfo"), used)) static const char m[] = "vermagic=${release} SMP";\n`;

  async function module(name: string, files: Readonly<Record<string, string>>): Promise<string> {
    const dir = join(temp.path, name);
    await mkdir(dir, { recursive: true });
    for (const [file, text] of Object.entries(files)) await writeFile(join(dir, file), text);
    return dir;
  }

  const kernel = async () => {
    const { tree } = await smallLinux(join(temp.path, 'm-linux'));
    return { kbuild: tree, release: '6.6.6-small', digest: 'kernel' };
  };

  it('builds in a private copy, and again only when a source changes', async () => {
    const linux = await kernel();
    const dir = await module('m1', {
      Kbuild: '',
      'my_rng.c': vermagic(linux.release),
      'my_rng.o': 'left behind',
    });
    const request = { linux, dir, name: 'my_rng' };
    const first = await buildModule(request, { step: quietStep(), timeouts });
    expect(first.fresh).toBe(true);
    expect((await readdir(dir)).sort()).toEqual(['Kbuild', 'my_rng.c', 'my_rng.o']);
    await writeFile(join(dir, 'my_rng.o'), 'another product');
    expect((await buildModule(request, { step: quietStep(), timeouts })).fresh).toBe(false);
    await writeFile(join(dir, 'my_rng.c'), `${vermagic(linux.release)}int x;\n`);
    expect((await buildModule(request, { step: quietStep(), timeouts })).fresh).toBe(true);
  });

  it('shows warnings that are errors with the path of the source', async () => {
    const linux = await kernel();
    const dir = await module('m2', { Kbuild: '', 'my_rng.c': 'static int f(void) { return 0; }\n' });
    const request = { linux, dir, name: 'my_rng', blame: 'submission' as const };
    const error = await failure(buildModule(request, { step: quietStep(), timeouts }));
    expect(error).toMatchObject({ code: 'build/compile', blame: 'submission' });
    expect(error.evidence[0]).toContain(`${dir}/my_rng.c:1:12: error: `);
  });

  it.each([
    ['build/vermagic', { Kbuild: '', 'my_rng.c': vermagic('5.4.0') }, 'my_rng'],
    ['build/no-module', { Kbuild: '', 'my_rng.c': vermagic('6.6.6-small') }, 'other'],
    ['build/no-makefile', { 'my_rng.c': '' }, 'my_rng'],
  ])('%s', async (code, files, name) => {
    const dir = await module(code, files);
    const request = { linux: await kernel(), dir, name };
    expect((await failure(buildModule(request, { step: quietStep(), timeouts }))).code).toBe(code);
  });
});

describe('buildProgram', () => {
  it('makes a static program that runs', async () => {
    const source = join(temp.path, 'hello.c');
    await writeFile(source, '#include <stdio.h>\nint main(void) { return puts(TEXT) < 0; }\n');
    const request = { sources: [source], name: 'hello', cflags: ['-DTEXT="hi"'] };
    const program = await buildProgram(request, { step: quietStep(), timeouts });
    expect((await run(program.binary, [], { timeout: 10_000 })).stdout).toBe('hi\n');
    const interpreter = await run('readelf', ['-l', program.binary], { timeout: 10_000 });
    expect(interpreter.stdout).not.toContain('INTERP');
    expect((await buildProgram(request, { step: quietStep(), timeouts })).fresh).toBe(false);
  });

  it('takes a warning for an error', async () => {
    const source = join(temp.path, 'careless.c');
    await writeFile(source, 'int main(int argc, char **argv) { return 0; }\n');
    const request = { sources: [source], name: 'careless' };
    const error = await failure(buildProgram(request, { step: quietStep(), timeouts }));
    expect(error).toMatchObject({ code: 'build/compile', blame: 'user' });
    expect(error.evidence[0]).toContain(`${source}:1:14: error: unused parameter`);
  });
});
