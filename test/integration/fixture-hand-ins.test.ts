import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Fixture, listFixtures, makeHandIn, type PristineTrees } from '../../src/grade/fixture.js';
import type { PartLayout } from '../../src/grade/fixture-schema.js';
import { unpack } from '../../src/host/archive.js';
import { cacheRoot } from '../../src/host/paths.js';
import { run } from '../../src/host/run.js';
import { scaled } from '../../src/timeouts.js';
import { useTempFolder } from '../support/temp.js';

const PARTS = ['device', 'driver'] as const;
const PATCHES = ['git', 'mail', 'series', 'urN'];

const timeouts = scaled(1);
const { signal } = new AbortController();
const real = cachedTrees();
const temp = useTempFolder();
const fixtures = await listFixtures('my-rng');
const forms = fixtures.filter((fixture, i) => fixtures.findIndex((f) => formOf(f) === formOf(fixture)) === i);
const byName = (list: readonly Fixture[]) => list.map((fixture) => [fixture.name, fixture] as const);
const named = (name: string) => fixtures.find((fixture) => fixture.name === name) as Fixture;

let small: PristineTrees;
beforeAll(async () => {
  small = await smallTrees();
});

describe('hand-ins', () => {
  test.each(byName(forms))('%s: the same bytes each time', async (_, fixture) => {
    expect(await digest(await make(fixture, small))).toBe(await digest(await make(fixture, small)));
  });

  test.each(byName(forms.filter(({ kind }) => kind !== 'hostile')))(
    '%s: its patches fit where they should',
    async (_, fixture) => {
      expect(await fits(fixture, small)).toEqual(shouldFit(fixture));
    },
  );

  test.skipIf(real === undefined).each(byName(fixtures.filter(({ kind }) => kind === 'good')))(
    '%s: its patches fit the real trees (needs their sources in the cache)',
    async (_, fixture) => {
      expect(await fits(fixture, real as PristineTrees)).toEqual(shouldFit(fixture));
    },
  );

  test('have names of two trees in patches by diff -urN, and say where binary files differ', async () => {
    const dir = await make(named('diff-urn-products'), small);
    const patch = await readFile(join(dir, 'my-rng_linux.diff'), 'utf8');
    expect(patch).toContain('\n+++ /usr/src/linux/init/main.c\t2024-01-18 12:00:00.000000000 +0000\n');
    expect(patch).toMatch(
      /^Binary files \/home\/\S+\/my-rng\.o and \/usr\/src\/linux\/drivers\/misc\/my-rng\.o differ$/m,
    );
  });

  test('are archives that can be unpacked', async () => {
    for (const name of ['tar-xz', 'tar-gz']) {
      const to = join(temp.path, `unpacked-${name}`);
      await unpack(await make(named(name), small), to, { signal });
      const found = await readdir(to, { recursive: true });
      expect(found.filter((path) => path.endsWith('qemu.patch'))).toHaveLength(1);
    }
  });

  test('are repositories with a clean work tree', async () => {
    const cwd = await make(named('git-repository'), small);
    const { stdout } = await run('git', ['status', '--porcelain'], { cwd, timeout: timeouts.hostTool });
    expect(stdout).toBe('');
  });

  test('hold a bomb that is small as long as nobody unpacks it', async () => {
    expect((await stat(await make(named('zip-bomb'), small))).size).toBeLessThan(8 * 1024 * 1024);
  });

  test('are refused when an edit does not find its text', async () => {
    const edits = [{ file: 'device.c', find: 'no such text', replace: '' }];
    const fixture = { ...named('git-diff'), edits };
    await expect(make(fixture, small)).rejects.toMatchObject({ code: 'fixture/invalid' });
    const twice = { ...fixture, edits: [{ file: 'driver.patch', find: 'my_rng', replace: '' }] };
    await expect(make(twice, small)).rejects.toMatchObject({ code: 'fixture/invalid' });
  });

  test('are refused when a file beside the fixture is used by nothing', async () => {
    const dir = join(temp.path, 'beside');
    await mkdir(dir);
    await writeFile(join(dir, 'devise.c'), '');
    const fixture = { ...named('git-diff'), dir };
    await expect(make(fixture, small)).rejects.toMatchObject({ code: 'fixture/invalid' });
  });
});

/** What a hand-in looks like apart from the text of its sources: one of each look is enough here. */
function formOf({ handIn, against, add, drop, edits }: Fixture): string {
  return JSON.stringify([handIn, against, add, drop, edits.filter(({ file }) => !file.endsWith('.c'))]);
}

/** The sources that `lab` has unpacked, if it has. */
function cachedTrees(): PristineTrees | undefined {
  const root = join(cacheRoot(), 'sources');
  const names = existsSync(root) ? readdirSync(root) : [];
  const [qemu, linux] = ['qemu', 'linux'].map((project) =>
    names.find((name) => name.startsWith(`${project}-`)),
  );
  if (qemu === undefined || linux === undefined) return undefined;
  return { qemu: join(root, qemu, 'tree'), linux: join(root, linux, 'tree') };
}

/** As much of the two trees as the hand-ins touch, in other words than the real ones. */
async function smallTrees(): Promise<PristineTrees> {
  const root = join(temp.path, 'pristine');
  const numbered = (what: string) => Array.from({ length: 12 }, (_, i) => `${what} ${i}\n`).join('');
  const edu = "system_ss.add(when: 'CONFIG_EDU', if_true: files('edu.c'))\n";
  const files = {
    'qemu/hw/misc/Kconfig': `${numbered('# option')}source macio/Kconfig\n`,
    'qemu/hw/misc/meson.build': `${numbered('# device')}${edu}${numbered('# other')}`,
    'linux/drivers/misc/Kconfig': `menu "Misc devices"\n${numbered('# option')}endmenu\n`,
    'linux/drivers/misc/Makefile': numbered('# object'),
    'linux/init/main.c': `${numbered('// before')}\tdo_sysctl_args();\n\n${numbered('// after')}`,
  };
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
  return { qemu: join(root, 'qemu'), linux: join(root, 'linux') };
}

async function make(fixture: Fixture, trees: PristineTrees): Promise<string> {
  return await makeHandIn(fixture, trees, await mkdtemp(join(temp.path, 'made-')), { signal, timeouts });
}

/** Names, link targets, times and bytes of everything below a path. */
async function digest(path: string): Promise<string> {
  const hash = createHash('sha256');
  const isFolder = (await stat(path)).isDirectory();
  for (const name of isFolder ? (await readdir(path, { recursive: true })).sort() : ['']) {
    const target = await readlink(join(path, name)).catch(() => undefined);
    hash.update(`${name}\0${target}\0`);
    const found = target === undefined ? await stat(join(path, name)) : undefined;
    if (!found?.isFile()) continue;
    hash.update(await readFile(join(path, name)));
    if (!name.startsWith('.git')) hash.update(String(found.mtimeMs));
  }
  await rm(path, { recursive: true });
  return hash.digest('hex');
}

/** By part: whether git accepts its patch in a copy of the few files that patches touch. */
async function fits(fixture: Fixture, trees: PristineTrees): Promise<Record<string, boolean>> {
  const plain = { ...fixture, handIn: { ...fixture.handIn, form: 'folder' as const, wrap: [] } };
  const dir = await make(plain, trees);
  const results: Record<string, boolean> = {};
  for (const part of PARTS.filter((name) => PATCHES.includes(fixture.handIn[name].style))) {
    const { project, files } = fixture.layout.parts[part] as PartLayout;
    const pristine = trees[project] as string;
    const tree = await mkdtemp(join(temp.path, 'tree-'));
    for (const { path } of files.filter((file) => existsSync(join(pristine, file.path)))) {
      await mkdir(dirname(join(tree, path)), { recursive: true });
      await writeFile(join(tree, path), await readFile(join(pristine, path)));
    }
    results[part] = await gitAccepts(await patchOf(fixture, part, dir), tree);
  }
  return results;
}

/** Its text with names that git understands, without byte order mark and carriage returns. */
async function patchOf(fixture: Fixture, part: 'device' | 'driver', dir: string): Promise<string> {
  const { project, vanilla, work } = fixture.layout.parts[part] as PartLayout;
  const { name, style, ...own } = fixture.handIn[part];
  const path = join(dir, name ?? (style === 'series' ? project : `${project}.patch`));
  const files = style === 'series' ? (await readdir(path)).sort().map((file) => join(path, file)) : [path];
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  return texts
    .join('')
    .replace(/^\ufeff/, '')
    .replaceAll('\r', '')
    .replaceAll(`${own.vanilla ?? vanilla}/`, 'a/')
    .replaceAll(`${own.work ?? work}/`, 'b/');
}

async function gitAccepts(patch: string, cwd: string): Promise<boolean> {
  const { exitCode } = await run('git', ['apply', '--check', '-'], {
    cwd,
    env: { GIT_CEILING_DIRECTORIES: dirname(cwd), GIT_CONFIG_GLOBAL: '/dev/null' },
    input: patch,
    accept: [0, 1, 128],
    timeout: timeouts.hostTool,
  });
  return exitCode === 0;
}

function shouldFit(fixture: Fixture): Record<string, boolean> {
  const parts = PARTS.filter((name) => PATCHES.includes(fixture.handIn[name].style));
  const each = fixture.name === 'two-students'; // each patch fits, but there are too many
  return Object.fromEntries(
    parts.map((part) => [part, each || fixture.expect[`${part}-patch-applies`] === 'passed']),
  );
}
