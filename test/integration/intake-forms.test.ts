import { execFileSync } from 'node:child_process';
import { mkdir, readFile, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { packTar } from '../../src/host/tar-stream.js';
import { buildFileChanges } from '../../src/intake/build-files.js';
import { fit as fitPart } from '../../src/intake/fit.js';
import type { Fit, Project, Submission } from '../../src/intake/submission.js';
import { takeIn } from '../../src/intake/take-in.js';
import type { Trees } from '../../src/intake/trees.js';
import { intakeRules } from '../../src/labs/my-rng/grading/intake-rules.js';
import { scaled } from '../../src/timeouts.js';
import {
  applicationSource,
  deviceSource,
  driverSource,
  linuxFiles,
  linuxWork,
  makeTrees,
  qemuFiles,
  qemuWork,
  writeAll,
} from '../support/intake-trees.js';
import { useTempFolder } from '../support/temp.js';

const folder = useTempFolder();
const signal = new AbortController().signal;
const timeouts = scaled(1);
let trees: Trees;
let patches: Record<Project, string>;
let count = 0;

beforeAll(async () => {
  trees = await makeTrees(join(folder.path, 'pristine'));
  patches = { qemu: await gitDiff('qemu', qemuWork), linux: await gitDiff('linux', linuxWork) };
});

async function fresh(name: string): Promise<string> {
  count += 1;
  const dir = join(folder.path, `${count}`, name);
  await mkdir(dir, { recursive: true });
  return dir;
}

/** `diff -urN` between the pristine tree and one with `work` in it, at paths of differing depth. */
async function diffTrees(project: Project, work: Readonly<Record<string, string>>): Promise<string> {
  const base = await fresh('home');
  const version = project === 'qemu' ? 'qemu-8.2.0-rc2' : 'linux-6.6.4';
  const [vanilla, own] = [join(base, version), join(base, 'uni/os', project)];
  const files = project === 'qemu' ? qemuFiles : linuxFiles;
  await writeAll(vanilla, files);
  await writeAll(own, { ...files, ...work });
  try {
    return execFileSync('diff', ['-urN', vanilla, own], { encoding: 'latin1' });
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}

async function repository(project: Project, work: Readonly<Record<string, string>>): Promise<string> {
  const dir = await fresh('repository');
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', dir, '-c', 'user.name=A', '-c', 'user.email=a@b.c', ...args]);
  await writeAll(dir, project === 'qemu' ? qemuFiles : linuxFiles);
  git('init', '-q');
  git('add', '-A');
  git('commit', '-qm', 'vanilla');
  await writeAll(dir, work);
  git('add', '-A');
  return dir;
}

async function gitDiff(project: Project, work: Readonly<Record<string, string>>): Promise<string> {
  const dir = await repository(project, work);
  return execFileSync('git', ['-C', dir, 'diff', '--cached'], { encoding: 'latin1' });
}

async function hand(files: Readonly<Record<string, string | Buffer>>, name = 'ana'): Promise<string> {
  const dir = await fresh(name);
  await writeAll(dir, files);
  return dir;
}

async function take(path: string): Promise<Submission> {
  return await takeIn(path, { trees, lab: intakeRules, into: await fresh('into'), signal, timeouts });
}

async function takeFiles(files: Readonly<Record<string, string | Buffer>>): Promise<Submission> {
  return await take(await hand(files));
}

async function fitOf(submission: Submission, project: Project): Promise<Fit> {
  const part = submission.parts[project];
  if (part === undefined) throw new Error(`no part for ${project}: ${JSON.stringify(submission.problems)}`);
  return await fitPart(part, trees[project].tree, { signal, timeouts });
}

async function treeAfter(
  submission: Submission,
  project: Project,
): Promise<Record<string, string | undefined>> {
  const { files } = await fitOf(submission, project);
  return Object.fromEntries([...files].map(([path, { data }]) => [path, data?.toString('latin1')]));
}

const facts = ({ problems }: Submission) => problems.map(({ fact }) => fact);

describe('forms of a hand-in', () => {
  test('a folder with both patches, an application and a report', async () => {
    const files = {
      'q.patch': patches.qemu,
      'l.patch': patches.linux,
      'my-app.c': applicationSource,
      'report.pdf': '%PDF-1.5',
    };
    const submission = await takeFiles(files);
    expect(facts(submission)).toEqual([]);
    expect(submission.id).toBe('ana');
    expect(await treeAfter(submission, 'qemu')).toEqual(qemuWork);
    expect(await treeAfter(submission, 'linux')).toEqual(linuxWork);
    expect(submission.report).toBe('report.pdf');
    expect(await readFile(submission.application?.path ?? '', 'utf8')).toBe(applicationSource);
    expect(submission.module).toBeUndefined();
    expect(submission.parts.qemu).toMatchObject({ wasPatch: true, origin: 'q.patch' });
    expect(submission.parts.qemu?.files).toContainEqual({
      path: 'hw/misc/my-rng.c',
      kind: 'added',
      added: 6,
      removed: 0,
    });
  });

  const both = () => ({ 'q.patch': patches.qemu, 'l.patch': patches.linux });

  test.each([
    ['a.zip', (dir: string) => ['zip', '-qr', `${dir}/../a.zip`, 'top']],
    ['a.tar', (dir: string) => ['tar', '-cf', `${dir}/../a.tar`, 'top']],
    ['a.tar.gz', (dir: string) => ['tar', '-czf', `${dir}/../a.tar.gz`, 'top']],
    ['a.tar.xz', (dir: string) => ['tar', '-cJf', `${dir}/../a.tar.xz`, 'top']],
    ['a.tar.bz2', (dir: string) => ['tar', '-cjf', `${dir}/../a.tar.bz2`, 'top']],
  ])('%s with wrapped folders and what macOS and Windows leave', async (name, command) => {
    const junk = {
      'top/__MACOSX/._q.patch': 'x',
      'top/x/.DS_Store': 'x',
      'top/x/._q.patch': 'x',
      'top/x/Thumbs.db': 'x',
    };
    const dir = await hand({ 'top/x/q.patch': patches.qemu, 'top/x/l.patch': patches.linux, ...junk });
    const [tool = '', ...args] = command(dir);
    await utimes(
      join(dir, 'top/x/q.patch'),
      new Date('2024-01-02T03:04:06Z'),
      new Date('2024-01-02T03:04:06Z'),
    );
    await utimes(
      join(dir, 'top/x/l.patch'),
      new Date('2024-01-01T03:04:06Z'),
      new Date('2024-01-01T03:04:06Z'),
    );
    execFileSync(tool, args, { cwd: dir });
    const submission = await take(join(dir, '..', name));
    expect(facts(submission)).toEqual([]);
    expect(submission.changes).toEqual([]);
    expect(submission.id).toBe('a');
    expect(submission.handedIn).toEqual(new Date('2024-01-02T03:04:06Z'));
    expect(await treeAfter(submission, 'qemu')).toEqual(qemuWork);
    expect(await treeAfter(submission, 'linux')).toEqual(linuxWork);
  });

  test('an archive in a folder, and a compressed patch', async () => {
    const dir = await hand({ 'q.patch': patches.qemu, 'inner/l.patch': patches.linux });
    execFileSync('zip', ['-qrm', 'hand-in.zip', 'inner'], { cwd: dir });
    execFileSync('gzip', ['q.patch'], { cwd: dir });
    const submission = await take(dir);
    expect(facts(submission)).toEqual([]);
    expect(await treeAfter(submission, 'qemu')).toEqual(qemuWork);
    expect(submission.parts.linux?.origin).toBe('hand-in.zip/inner/l.patch');
  });

  test('a single patch, and one that holds the parts of both trees', async () => {
    const one = await take(join(await hand(both()), 'q.patch'));
    expect(one.id).toBe('q');
    expect(await treeAfter(one, 'qemu')).toEqual(qemuWork);
    expect(one.parts.linux).toBeUndefined();
    const two = await takeFiles({ 'all.txt': patches.linux + patches.qemu });
    expect(await treeAfter(two, 'qemu')).toEqual(qemuWork);
    expect(await treeAfter(two, 'linux')).toEqual(linuxWork);
  });

  test('a repository is a folder: its history is left out, its hooks and filters never run', async () => {
    const dir = await hand(both());
    const witness = join(folder.path, 'witness');
    execFileSync('git', ['-C', dir, 'init', '-q']);
    execFileSync('git', ['-C', dir, 'config', 'core.fsmonitor', `touch ${witness}`]);
    const submission = await take(dir);
    expect(facts(submission)).toEqual([]);
    expect(submission.changes).toEqual([expect.stringMatching(/^left out \d+ build products/)]);
    await expect(readFile(witness)).rejects.toThrow('ENOENT');
  });

  test('a whole source tree with the changes in it', async () => {
    const files = {
      ...Object.fromEntries(Object.entries(qemuFiles).map(([n, d]) => [`qemu-8.2.0/${n}`, d])),
    };
    const work = Object.fromEntries(Object.entries(qemuWork).map(([n, d]) => [`qemu-8.2.0/${n}`, d]));
    const submission = await takeFiles({ ...files, ...work });
    expect(facts(submission)).toEqual([]);
    expect(submission.changes.join('\n')).toMatch(/left out \d+ files that belong to the source trees/);
    expect(submission.parts.qemu?.wasPatch).toBe(false);
    const after = await treeAfter(submission, 'qemu');
    expect(after['hw/misc/my-rng.c']).toBe(deviceSource);
    expect(after['hw/misc/Kconfig']).toBe(qemuWork['hw/misc/Kconfig']);
    expect(after['hw/misc/meson.build']).toBe(qemuWork['hw/misc/meson.build']);
  });

  test('a whole source tree of another version', async () => {
    const same = Array.from({ length: 120 }, (_, i) => [`docs/d${i}.rst`, 'x'] as const);
    await writeAll(trees.qemu.tree, Object.fromEntries(same));
    const strays = Array.from(
      { length: 50 },
      (_, i) => [`hw/misc/other${i}.c`, deviceSource.replaceAll('my_rng', 'x')] as const,
    );
    const gone = Array.from({ length: 50 }, (_, i) => [`roms/edk2/f${i}.c`, deviceSource] as const);
    const all = { ...qemuFiles, ...Object.fromEntries([...same, ...strays, ...gone]), ...qemuWork };
    const submission = await takeFiles(
      Object.fromEntries(Object.entries(all).map(([n, d]) => [`q/${n}`, d])),
    );
    expect(facts(submission)).toEqual([]);
    expect(submission.parts.qemu?.origin).toBe(
      'q/hw/misc/my-rng.c, q/hw/misc/Kconfig, q/hw/misc/meson.build',
    );
    expect(submission.parts.linux).toBeUndefined();
    expect(submission.module).toBeUndefined();
  });

  test('the record has a digest for each file, and the digest of all does not depend on the order', async () => {
    const into = await fresh('into');
    const path = await hand(both());
    const first = await takeIn(path, { trees, lab: intakeRules, into, signal, timeouts });
    const record = JSON.parse(await readFile(join(into, 'input.json'), 'utf8'));
    expect(record.digest).toBe(first.digest);
    expect(record.files.map(({ name }: { name: string }) => name)).toEqual(['l.patch', 'q.patch']);
    const again = await take(await hand({ 'l.patch': patches.linux, 'q.patch': patches.qemu }));
    expect(again.digest).toBe(first.digest);
    const other = await take(await hand({ ...both(), 'l.patch': `${patches.linux}\n` }));
    expect(other.digest).not.toBe(first.digest);
  });

  test('only a path that does not exist is an error', async () => {
    await expect(take(join(folder.path, 'nothing'))).rejects.toMatchObject({
      code: 'intake/no-input',
      blame: 'user',
    });
  });
});

describe('what is left out or refused', () => {
  test('300 MB of build products, in a folder and in an archive', async () => {
    const dir = await hand({
      'q.patch': patches.qemu,
      'build/a': 'x',
      'linux/vmlinux': 'x',
      'linux/a.o': 'x',
    });
    await truncate(join(dir, 'linux/vmlinux'), 300e6);
    await truncate(join(dir, 'build/a'), 10e6);
    const plain = await take(dir);
    expect(facts(plain)).toEqual([]);
    expect(plain.changes).toEqual(['left out 3 build products, 310 MB']);
    execFileSync('tar', ['-cf', '../a.tar', '.'], { cwd: dir });
    const archived = await take(join(dir, '../a.tar'));
    expect(facts(archived)).toEqual([]);
    expect(archived.changes).toEqual(['left out 3 build products, 310 MB']);
    expect(archived.parts.qemu?.files).toHaveLength(3);
  });

  test('links that leave, and special files', async () => {
    const dir = await hand({ 'q.patch': patches.qemu });
    await symlink('/etc/passwd', join(dir, 'passwd'));
    await symlink('../../secret', join(dir, 'up'));
    await symlink('q.patch', join(dir, 'same'));
    execFileSync('mkfifo', [join(dir, 'pipe')]);
    const submission = await take(dir);
    expect(submission.problems).toHaveLength(1);
    expect(submission.problems[0]?.evidence).toEqual([
      'passwd is a link to /etc/passwd, outside of the hand-in',
      'pipe is a pipe, not a file',
      'up is a link to ../../secret, outside of the hand-in',
    ]);
    expect(submission.changes).toEqual(['left out 1 symbolic link']);
    expect(submission.parts.qemu).toBeDefined();
  });

  test('names in archives that leave', async () => {
    const dir = await hand({ 'in/q.patch': patches.qemu, 'evil.patch': patches.linux });
    execFileSync(
      'tar',
      ['-P', '-cf', '../../evil.tar', '../evil.patch', join(dir, 'evil.patch'), 'q.patch'],
      {
        cwd: join(dir, 'in'),
      },
    );
    const submission = await take(join(dir, '../evil.tar'));
    expect(submission.problems[0]?.evidence).toEqual([
      '../evil.patch leaves the folder that it is unpacked to',
      `${dir}/evil.patch is an absolute name`,
    ]);
    expect(submission.parts.linux).toBeUndefined();
    expect(submission.parts.qemu).toBeDefined();
  });

  test('more files than anybody writes', async () => {
    const data = Buffer.from('x');
    const names = ['a.patch', ...Array.from({ length: 20_001 }, (_, i) => `f${i}.txt`)];
    const entries = names.map((path) => ({
      path,
      mode: 0o644,
      mtime: new Date(0),
      content: { kind: 'data', data } as const,
    }));
    const path = join(await hand({}), 'many.tar');
    await writeFile(path, packTar(entries));
    const submission = await take(path);
    expect(facts(submission)).toEqual(['the hand-in holds more than 20,000 files; nothing of it was graded']);
    expect(submission.parts).toEqual({});
  });

  test('bombs', async () => {
    const dir = await hand({ 'q.patch': patches.qemu, zeros: '' });
    await truncate(join(dir, 'zeros'), 250e6);
    execFileSync('tar', ['-cjf', '../bomb.tar.bz2', '.'], { cwd: dir });
    execFileSync('zip', ['-q1r', '../bomb.zip', '.'], { cwd: dir });
    execFileSync('sh', ['-c', 'bzip2 -c zeros > ../zeros.patch.bz2'], { cwd: dir });
    for (const name of ['bomb.tar.bz2', 'bomb.zip', 'zeros.patch.bz2']) {
      const submission = await take(join(dir, '..', name));
      expect(facts(submission), name).toHaveLength(1);
      expect(submission.parts, name).toEqual({});
    }
  });

  test('damaged and foreign archives', async () => {
    const dir = await hand({ 'q.patch': patches.qemu });
    execFileSync(
      'sh',
      ['-c', 'tar -cz . | head -c 300 > ../cut.tgz; zip -qr - . | head -c 300 > ../cut.zip'],
      { cwd: dir },
    );
    await writeFile(join(dir, '../a.rar'), 'Rar!\x1a\x07\x00 and so on');
    for (const name of ['cut.tgz', 'cut.zip', 'a.rar']) {
      const submission = await take(join(dir, '..', name));
      expect(submission.problems[0]?.fact, name).toContain(name);
      expect(submission.parts, name).toEqual({});
    }
  });

  test('two hand-ins in one', async () => {
    const own = patches.qemu.replace('my_rng_info', 'rng_info');
    const two = await takeFiles({
      'x/ana/q.patch': patches.qemu,
      'x/ana/l.patch': patches.linux,
      'x/ben/q.patch': own,
    });
    expect(facts(two)).toEqual(['these are 2 hand-ins in one: ana, ben; none was graded']);
    expect(two.parts).toEqual({});
    const one = await takeFiles({ 'part1/q.patch': patches.qemu, 'part2/q.patch': own });
    expect(facts(one)).toEqual([]);
    expect(one.parts.qemu?.origin).toBe('part1/q.patch');
  });

  test.each([
    ['an empty folder', {}, 'the hand-in holds no file that could be graded'],
    ['an empty patch', { 'qemu.patch': '' }, 'qemu.patch is empty'],
    ['a PDF named .patch', { 'qemu.patch': '%PDF-1.4\n\u0000' }, 'qemu.patch is a PDF document, not a patch'],
    ['random text', { 'qemu.patch': 'hello\nworld\n' }, 'qemu.patch holds no patch'],
    [
      'a context diff',
      { 'q.diff': '*** a\n--- b\n***************\n*** 1 ****\n' },
      /^q.diff is a context diff/,
    ],
    ['a normal diff', { 'q.diff': '3c3\n< a\n---\n> b\n' }, /^q.diff is a diff without context/],
    [
      'no patch at all',
      { 'report.pdf': '%PDF-1.4', 'notes.txt': 'hello' },
      /^there is neither a patch nor a source/,
    ],
  ])('%s', async (_, files, fact) => {
    const submission = await takeFiles(files as Record<string, string>);
    expect(facts(submission)).toEqual([typeof fact === 'string' ? fact : expect.stringMatching(fact)]);
    expect(submission.problems[0]?.next).not.toBe('');
  });
});

describe('patches', () => {
  test('diff -urN with absolute paths of differing depth, dates and build products', async () => {
    const products = {
      'hw/misc/my-rng.o': '\u0000\u0001',
      'build/config-host.h': '#define X\n',
      tags: 'x\n',
    };
    const text = `Only in /x/qemu-8.2.0-rc2: roms\n${await diffTrees('qemu', { ...qemuWork, ...products })}`;
    const submission = await takeFiles({
      'qemu.patch': text,
      'l.patch': await diffTrees('linux', linuxWork),
    });
    expect(facts(submission)).toEqual([]);
    expect(await treeAfter(submission, 'qemu')).toEqual(qemuWork);
    expect(await treeAfter(submission, 'linux')).toEqual(linuxWork);
    expect(submission.parts.qemu?.askedVersion).toBe('8.2.0-rc2');
    expect(submission.parts.linux?.askedVersion).toBe('6.6.4');
    expect(submission.changes).toContain('qemu.patch: left out 4 generated or binary files');
  });

  test('mails of git format-patch: one file, and a series of files', async () => {
    const dir = await repository('qemu', { 'hw/misc/my-rng.c': deviceSource });
    const git = (...args: string[]) =>
      execFileSync('git', ['-C', dir, '-c', 'user.name=A', '-c', 'user.email=a@b.c', ...args], {
        encoding: 'latin1',
      });
    git('commit', '-qm', 'the device');
    await writeAll(dir, { ...qemuWork, 'hw/misc/my-rng.c': deviceSource.replace('my_rng_info', 'info') });
    git('commit', '-qam', 'build files');
    const wanted = { ...qemuWork, 'hw/misc/my-rng.c': deviceSource.replace('my_rng_info', 'info') };
    const mbox = await takeFiles({ 'qemu.mbox': git('format-patch', '--stdout', 'HEAD~2') });
    expect(facts(mbox)).toEqual([]);
    expect(await treeAfter(mbox, 'qemu')).toEqual(wanted);
    git('format-patch', '-o', 'out', 'HEAD~2');
    const series = await take(join(dir, 'out'));
    expect(await treeAfter(series, 'qemu')).toEqual(wanted);
    expect(series.changes.join('\n')).toContain(
      '0001-the-device.patch, 0002-build-files.patch are a series of mails',
    );
    const origins = series.parts.qemu?.places?.map(({ origin }) => origin);
    expect(new Set(origins)).toEqual(new Set(['0001-the-device.patch', '0002-build-files.patch']));
    expect((await fitOf(series, 'qemu')).details.at(-1)).toBe('git apply --check: fits');
  });

  test.each([
    ['CR LF', (text: string) => Buffer.from(text.replaceAll('\n', '\r\n'), 'latin1')],
    [
      'a byte order mark',
      (text: string) => Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(text)]),
    ],
    ['UTF-16', (text: string) => Buffer.from(`\ufeff${text.replaceAll('\n', '\r\n')}`, 'utf16le')],
    ['UTF-16 without a mark', (text: string) => Buffer.from(text, 'utf16le')],
  ])('%s', async (_, mangle) => {
    const submission = await takeFiles({ 'q.patch': mangle(patches.qemu) });
    expect(facts(submission)).toEqual([]);
    expect(submission.changes).not.toEqual([]);
    expect(await treeAfter(submission, 'qemu')).toEqual(qemuWork);
  });

  test.each([
    [
      '-p0',
      (text: string) => text.replaceAll(/(^(?:---|\+\+\+)) [ab]\//gm, '$1 ').replaceAll(/^diff .*\n/gm, ''),
    ],
    ['relative to hw/misc', (text: string) => text.replaceAll('hw/misc/', '')],
    ['with junk around', (text: string) => `Dear grader,\n\nhere it is:\n\n${text}\n-- \nAna\n`],
    ['a/dev/null', (text: string) => text.replaceAll('/dev/null', 'a/dev/null')],
    [
      'Windows names',
      (text: string) => text.replaceAll('a/hw/misc/', 'C:\\qemu\\hw\\misc\\').replaceAll(/^diff .*\n/gm, ''),
    ],
  ])('names: %s', async (_, mangle) => {
    const submission = await takeFiles({ 'mine.txt': mangle(patches.qemu) });
    expect(facts(submission)).toEqual([]);
    expect(await treeAfter(submission, 'qemu')).toEqual(qemuWork);
  });

  test('for the other tree than its name says', async () => {
    const submission = await takeFiles({ 'qemu.patch': patches.linux });
    expect(Object.keys(submission.parts)).toEqual(['linux']);
    expect(submission.changes).toContain(
      'qemu.patch is a patch for Linux, although its name says QEMU; it was taken for Linux',
    );
  });

  test('several for one tree: the guided part counts', async () => {
    const more = patches.qemu.replace('my_rng_info', 'better_info');
    for (const name of ['qemu-enhanced.patch', 'part2/q.patch', 'bonus.patch']) {
      const submission = await takeFiles({ [name]: more, 'z.patch': patches.qemu });
      expect(submission.parts.qemu?.origin).toBe('z.patch');
      expect(submission.changes.join('\n')).toContain('z.patch was graded');
    }
    const complete = await takeFiles({
      'a.patch': patches.qemu.slice(0, patches.qemu.indexOf('diff --git', 5)),
      'b.patch': patches.qemu,
    });
    expect(complete.parts.qemu?.origin).toBe('b.patch');
    const first = await takeFiles({ 'b.patch': patches.qemu, 'a.patch': more });
    expect(first.parts.qemu?.origin).toBe('a.patch');
    expect(first.changes.join('\n')).toContain('first by name');
    const twice = await takeFiles({ 'b.patch': patches.qemu, 'a.patch': patches.qemu });
    expect(twice.changes).toEqual([]);
  });

  test('one per file: taken together', async () => {
    const pieces = patches.qemu.split(/^(?=diff --git)/m);
    const submission = await takeFiles(Object.fromEntries(pieces.map((piece, i) => [`${i}.patch`, piece])));
    expect(await treeAfter(submission, 'qemu')).toEqual(qemuWork);
  });

  test('what lies outside of the exercise is left out, and said', async () => {
    const work = { ...qemuWork, 'scripts/checkpatch.pl': 'system("id");\n', 'tests/unit/meson.build': 'x\n' };
    const submission = await takeFiles({ 'q.patch': await gitDiff('qemu', work) });
    expect(facts(submission)).toEqual([
      'q.patch changes 2 files of QEMU outside of the folders of the exercise; these were left out',
    ]);
    expect(submission.problems[0]).toMatchObject({
      project: 'qemu',
      evidence: ['scripts/checkpatch.pl', 'tests/unit/meson.build'],
    });
    expect(await treeAfter(submission, 'qemu')).toEqual(qemuWork);
    const lost = await takeFiles({
      'q.patch': patches.qemu.replaceAll('hw/misc/my-rng.c', 'hw/pci/my-rng.c'),
    });
    expect(lost.parts).toEqual({});
    expect(facts(lost)[0]).toMatch(/^q.patch was not used for QEMU/);
  });

  test('renames, modes, links, submodules and binary parts', async () => {
    const parts = [
      'diff --git a/hw/misc/edu.c b/hw/misc/x.c\nsimilarity index 100%\nrename from hw/misc/edu.c\nrename to hw/misc/x.c\n',
      'diff --git a/hw/misc/l b/hw/misc/l\nnew file mode 120000\n--- /dev/null\n+++ b/hw/misc/l\n@@ -0,0 +1 @@\n+/etc/passwd\n\\ No newline at end of file\n',
      'diff --git a/sub b/sub\nnew file mode 160000\n--- /dev/null\n+++ b/sub\n@@ -0,0 +1 @@\n+Subproject commit 123\n',
      'diff --git a/hw/misc/b.png b/hw/misc/b.png\nnew file mode 100644\nindex 000..111\nGIT binary patch\nliteral 3\nKcmZ\n\n',
      'diff --git a/hw/misc/edu.c b/hw/misc/edu.c\nold mode 100644\nnew mode 100755\n',
    ];
    const submission = await takeFiles({ 'q.patch': parts.join('') + patches.qemu });
    expect(facts(submission)).toEqual([
      'q.patch renames or copies hw/misc/x.c; that part was left out',
      'q.patch makes a symbolic link of hw/misc/l; that part was left out',
      'q.patch adds a git submodule at sub; that part was left out',
      'q.patch holds binary data for hw/misc/b.png; that part was left out',
      'q.patch changes the mode of hw/misc/edu.c; that part was left out',
    ]);
    expect(await treeAfter(submission, 'qemu')).toEqual(qemuWork);
  });

  test('names that escape or belong nowhere', async () => {
    const text = '--- /dev/null\n+++ b/../../../../etc/cron.d/evil\n@@ -0,0 +1 @@\n+x\n';
    const submission = await takeFiles({ 'q.patch': text + patches.qemu });
    expect(submission.problems[0]?.evidence).toEqual(['../../../../etc/cron.d/evil']);
    expect(Object.keys(await treeAfter(submission, 'qemu')).sort()).toEqual(Object.keys(qemuWork).sort());
    expect(await fitOf(submission, 'qemu')).toMatchObject({ kind: 'rejected', rejects: [] });
  });

  test('blank lines that an editor took away at the end are put back', async () => {
    const kconfig = `${qemuFiles['hw/misc/Kconfig']}\n\n\n`;
    const lines = kconfig.split('\n');
    const hunk = ['@@ -20,4 +20,5 @@', ` ${lines[19]}`, '+config MY_RNG', ' ', ' ', ' '];
    const head = '--- a/hw/misc/Kconfig\n+++ b/hw/misc/Kconfig\n';
    const submission = await takeFiles({ 'q.patch': `${head}${hunk.slice(0, 3).join('\n')}\n` });
    expect(facts(submission)).toEqual([]);
    expect(submission.changes.join('\n')).toContain('had lost 3 blank line(s)');
    expect(await readFile(submission.parts.qemu?.patch ?? '', 'utf8')).toContain(`${hunk.join('\n')}\n`);
  });

  test('hunks whose numbers are wrong are read by their lines, and the patch is called damaged', async () => {
    const submission = await takeFiles({
      'q.patch': patches.qemu.replace('@@ -0,0 +1,6 @@', '@@ -0,0 +1,9 @@'),
    });
    expect(submission.problems).toMatchObject([
      { project: 'qemu', fact: expect.stringMatching(/is damaged/) },
    ]);
    expect(await treeAfter(submission, 'qemu')).toEqual(qemuWork);
    expect(await fitOf(submission, 'qemu')).toMatchObject({
      kind: 'rejected',
      sentence: expect.stringMatching(/is damaged/),
    });
  });

  test('changes of build files are shown', async () => {
    const { parts } = await takeFiles({ 'q.patch': patches.qemu, 'l.patch': patches.linux });
    const shown = [parts.qemu, parts.linux].flatMap((part) =>
      part === undefined ? [] : buildFileChanges(part),
    );
    expect(shown.map(({ path }) => path).sort()).toEqual([
      'drivers/misc/Kconfig',
      'drivers/misc/Makefile',
      'hw/misc/Kconfig',
      'hw/misc/meson.build',
    ]);
    expect(shown.find(({ path }) => path.endsWith('Makefile'))?.diff).toContain(
      '+obj-$(CONFIG_MY_RNG)\t+= my-rng.o',
    );
  });
});

describe('any small edit, in any format', () => {
  const line = fc.constantFrom('a', 'b', '', '{', '}', '\tx = 1;', '-- x', '++ y', '@@ z', 'Only in q');
  const edit = fc.record({
    at: fc.nat(60),
    remove: fc.nat(4),
    add: fc.array(line, { maxLength: 4 }),
  });
  const formats: Readonly<Record<string, (text: string) => Buffer>> = {
    plain: (text) => Buffer.from(text, 'latin1'),
    crlf: (text) => Buffer.from(text.replaceAll('\n', '\r\n'), 'latin1'),
    utf16: (text) => Buffer.from(`\ufeff${text}`, 'utf16le'),
    mail: (text) =>
      Buffer.from(
        `From 0123456789abcdef Mon Sep 17\nSubject: [PATCH] x\n\n---\n${text}-- \n2.39.2\n`,
        'latin1',
      ),
    trimmed: (text) => Buffer.from(text.replaceAll(/^ $/gm, ''), 'latin1'),
    p0: (text) =>
      Buffer.from(
        text.replaceAll(/^(---|\+\+\+) [ab]\//gm, '$1 ').replaceAll(/^(diff|index) .*\n/gm, ''),
        'latin1',
      ),
  };

  test('applies to give the same file', async () => {
    const before = (qemuFiles['hw/misc/edu.c'] ?? '').split('\n').slice(0, -1);
    const property = fc.asyncProperty(
      fc.array(edit, { minLength: 1, maxLength: 3 }),
      fc.constantFrom('git', 'diff'),
      fc.constantFrom(...Object.keys(formats)),
      async (edits, tool, format) => {
        const lines = [...before];
        for (const { at, remove, add } of edits) lines.splice(Math.min(at, lines.length), remove, ...add);
        const after = `${lines.join('\n')}\n`;
        if (after === qemuFiles['hw/misc/edu.c'] || (tool === 'diff' && format === 'p0')) return;
        const work = { 'hw/misc/edu.c': after };
        const text = tool === 'git' ? await gitDiff('qemu', work) : await diffTrees('qemu', work);
        const submission = await takeFiles({ 'q.patch': formats[format]?.(text) ?? '' });
        expect(facts(submission)).toEqual([]);
        const fitted = await fitOf(submission, 'qemu');
        expect(fitted.kind).toBe('clean');
        expect(fitted.files.get('hw/misc/edu.c')?.data?.toString('latin1')).toBe(after);
      },
    );
    await fc.assert(property, { numRuns: 60 });
  });
});

describe('loose sources', () => {
  test('a device alone gets the usual build files', async () => {
    const submission = await takeFiles({ 'my_rng.c': deviceSource });
    expect(facts(submission)).toEqual([]);
    const after = await treeAfter(submission, 'qemu');
    expect(after['hw/misc/my-rng.c']).toBe(deviceSource);
    expect(after['hw/misc/Kconfig']).toContain('config MY_RNG');
    expect(after['hw/misc/meson.build']).toContain("files('my-rng.c')");
    expect(submission.changes).toContain('my_rng.c was put at hw/misc/my-rng.c');
    expect(submission.changes).toContain(
      'no Kconfig was handed in; the usual lines were added to hw/misc/Kconfig',
    );
  });

  test('build files of another version: only the own lines are taken', async () => {
    const meson = `system_ss.add(when: 'CONFIG_GONE', if_true: files('gone.c'))\n${qemuFiles['hw/misc/meson.build']}system_ss.add(when: 'CONFIG_MY_RNG',\n  if_true: files('rng.c'))\n`;
    const submission = await takeFiles({
      'device/rng.c': `#include "rng.h"\n${deviceSource}`,
      'device/rng.h': '#define X 1\n',
      'device/meson.build': meson,
      'device/Kconfig': 'config GONE\n    bool\n\nconfig MY_RNG\n    bool\n    default y\n',
    });
    const after = await treeAfter(submission, 'qemu');
    expect(after['hw/misc/rng.c']).toContain('TypeInfo');
    expect(after['hw/misc/rng.h']).toBe('#define X 1\n');
    expect(after['hw/misc/meson.build']).toContain("'CONFIG_MY_RNG',\n  if_true: files('rng.c'))");
    expect(after['hw/misc/meson.build']).not.toContain('gone.c');
    expect(after['hw/misc/Kconfig']).not.toContain('GONE');
    expect(after['hw/misc/Kconfig']).toMatch(/config MY_RNG\n {4}bool\n {4}default y\n$/);
  });

  test('a driver for the tree, with a whole init/main.c', async () => {
    const submission = await takeFiles({
      'linux/my-rng.c': driverSource,
      'linux/Kconfig': linuxWork['drivers/misc/Kconfig'] ?? '',
      'linux/Makefile': linuxWork['drivers/misc/Makefile'] ?? '',
      'linux/main.c': linuxWork['init/main.c'] ?? '',
    });
    const after = await treeAfter(submission, 'linux');
    expect(after['drivers/misc/my-rng.c']).toBe(driverSource);
    expect(after['drivers/misc/Makefile']).toBe(linuxWork['drivers/misc/Makefile']);
    expect(after['drivers/misc/Kconfig']).toContain('config MY_RNG\n\ttristate "my_rng"');
    expect(after['init/main.c']).toBe(linuxWork['init/main.c']);
    expect(submission.module).toBeUndefined();
  });

  test('init/main.c of another version: only the block of the exercise', async () => {
    const other = (linuxWork['init/main.c'] ?? '').replace(/^void setup_.*$/gm, (line) =>
      line.replace('void', 'static void'),
    );
    const submission = await takeFiles({ 'main.c': `${other}${'int other;\n'.repeat(40)}` });
    expect(submission.changes.join('\n')).toContain('only the lines that belong to the exercise');
    expect(await treeAfter(submission, 'linux')).toEqual({ 'init/main.c': linuxWork['init/main.c'] });
    const none = await takeFiles({
      'main.c': `${other}${'int other;\n'.repeat(40)}`
        .replaceAll(/my-rng|ioremap|iounmap|__iomem|0xfebf1000/gi, 'x')
        .replace('iounmap(mem);\n\t}', ''),
    });
    expect(none.parts.linux).toBeUndefined();
    expect(none.changes.join('\n')).toContain('it was left out');
  });

  test('a module with its makefile, and a lone driver', async () => {
    const makefile = 'obj-m := rng.o\n';
    const { module } = await takeFiles({ 'm/rng.c': driverSource, 'm/Makefile': makefile, 'm/rng.h': 'x\n' });
    expect(module).toMatchObject({ hadMakefile: true, files: ['rng.c', 'rng.h', 'Makefile'] });
    expect(await readFile(join(module?.dir ?? '', 'Makefile'), 'utf8')).toBe(makefile);
    const lone = await takeFiles({ 'driver.c': driverSource });
    expect(lone.parts.linux).toBeUndefined();
    expect(lone.module).toMatchObject({ hadMakefile: false, files: ['my-rng.c', 'Kbuild'] });
    expect(await readFile(join(lone.module?.dir ?? '', 'Kbuild'), 'utf8')).toBe(
      'obj-m := my_rng.o\nmy_rng-y := my-rng.o\n',
    );
  });
});

describe('how a part fits', () => {
  const head = '--- a/hw/misc/edu.c\n+++ b/hw/misc/edu.c\n';
  const hunk = (at: number, lines: readonly string[], line = '+new') =>
    `@@ -${at},6 +${at},7 @@\n${lines
      .slice(0, 3)
      .map((l) => ` ${l}\n`)
      .join('')}${line}\n${lines
      .slice(3)
      .map((l) => ` ${l}\n`)
      .join('')}`;
  const edu = (from: number) => Array.from({ length: 6 }, (_, i) => `int edu_${from + i};`);
  const fitText = async (text: string) => {
    const submission = await takeFiles({ 'q.patch': text });
    return await fitOf(submission, 'qemu');
  };

  test('exactly, at an offset, with other blanks, with less context', async () => {
    expect(await fitText(head + hunk(11, edu(10)))).toMatchObject({ kind: 'clean', rejects: [] });
    const offset = await fitText(head + hunk(31, edu(10)));
    expect(offset.kind).toBe('offset');
    expect(offset.details.join('\n')).toContain('offset -20 lines');
    expect(
      (
        await fitText(
          head +
            hunk(
              11,
              edu(10).map((l) => l.replace(' ', '\t')),
            ),
        )
      ).kind,
    ).toBe('whitespace');
    const fuzz = await fitText(head + hunk(11, ['int gone;', ...edu(11)]));
    expect(fuzz.kind).toBe('fuzz');
    expect(fuzz.sentence).toContain('fuzz');
    expect(fuzz.files.get('hw/misc/edu.c')?.data?.toString()).toContain('int edu_12;\nnew\nint edu_13;');
  });

  test('rejects have the hunk and its line in the file handed in; the other hunks stay applied', async () => {
    const wrong = hunk(40, ['int a;', 'int b;', 'int c;', 'int d;', 'int edu_43;', 'int edu_44;']);
    const fitted = await fitText(`\n\n${head}${hunk(11, edu(10))}${wrong}`);
    expect(fitted.kind).toBe('rejected');
    expect(fitted.rejects).toEqual([{ path: 'hw/misc/edu.c', line: 13, hunk: wrong.trimEnd() }]);
    expect(fitted.sentence).toContain('another version');
    expect(fitted.why).toBe('other-version');
    expect(fitted.files.get('hw/misc/edu.c')?.data?.toString()).toContain('int edu_12;\nnew\nint edu_13;');
  });

  test('of another release, added lines find their place by one line of context', async () => {
    const lines = [5, 30, 20, 99, 40, 41].map((i) => `int edu_${i};`);
    const fitted = await fitText(head + hunk(11, lines));
    expect(fitted).toMatchObject({ kind: 'fuzz', rejects: [] });
    expect(fitted.files.get('hw/misc/edu.c')?.data?.toString()).toContain('int edu_20;\nnew\nint edu_21;');
    const end = '@@ -90,2 +90,3 @@\n int edu_7;\n int edu_12;\n+last\n';
    const after = (await fitText(head + end)).files.get('hw/misc/edu.c')?.data?.toString();
    expect(after).toMatch(/edu_59;\nlast\n$/);
    const nowhere = [90, 91, 20, 92, 93, 94].map((i) => `int edu_${i};`);
    expect((await fitText(head + hunk(11, nowhere))).kind).toBe('rejected');
  });

  test('of the release in use, it is rejected', async () => {
    const same = { ...trees, qemu: { ...trees.qemu, version: '8.2.2' } };
    const lines = [5, 30, 20, 99, 40, 41].map((i) => `int edu_${i};`);
    const path = await hand({ 'q.patch': head + hunk(11, lines) });
    const submission = await takeIn(path, {
      trees: same,
      lab: intakeRules,
      into: await fresh('into'),
      signal,
      timeouts,
    });
    expect((await fitOf(submission, 'qemu')).kind).toBe('rejected');
  });

  test('applied already, and for a file that is not there', async () => {
    const reversed = hunk(11, [...edu(10)], '-gone').replace('@@ -11,6 +11,7 @@', '@@ -11,7 +11,6 @@');
    expect((await fitText(head + reversed)).why).toBe('applied-already');
    const missing = await fitText(`${(head + hunk(11, edu(10))).replaceAll('edu.c', 'nowhere.c')}`);
    expect(missing).toMatchObject({ kind: 'rejected', why: 'other-version' });
    expect([...missing.files]).toEqual([]);
  });

  test('a deleted file, a text without a last newline', async () => {
    const text = qemuFiles['hw/misc/edu.c'] ?? '';
    const gone = text
      .split('\n')
      .slice(0, -1)
      .map((line) => `-${line}\n`)
      .join('');
    const fitted = await fitText(`--- a/hw/misc/edu.c\n+++ /dev/null\n@@ -1,60 +0,0 @@\n${gone}`);
    expect(fitted.kind).toBe('clean');
    expect(fitted.files.get('hw/misc/edu.c')).toEqual({ data: undefined, executable: false });
    const open = await fitText(
      '--- /dev/null\n+++ b/hw/misc/a.c\n@@ -0,0 +1 @@\n+x\n\\ No newline at end of file\n',
    );
    expect(open.files.get('hw/misc/a.c')?.data?.toString()).toBe('x');
  });
});
