import { mkdir, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { basename, dirname, join, normalize } from 'node:path';
import { gzipSync } from 'node:zlib';
import { LabError } from '../errors.js';
import { run } from '../host/run.js';
import { tarOf, zipOf } from './fixture-archive.js';
import { type Entry, HANDED_IN, type MakeOptions } from './fixture-entry.js';
import { git } from './fixture-git.js';
import type { FixtureFile } from './fixture-schema.js';

type Form = FixtureFile['handIn']['form'];

/** Writes the entries in the given form to `path`, to which archives add their ending; returns what was written. */
export async function pack(
  form: Form,
  entries: readonly Entry[],
  path: string,
  options: MakeOptions,
): Promise<string> {
  const sorted = [...entries].sort((a, b) => (a.path < b.path ? -1 : 1));
  await mkdir(dirname(path), { recursive: true });
  if (form === 'folder') return await packFolder(sorted, path);
  if (form === 'git') return await packRepository(sorted, path, options);
  if (form === 'file') return await packFile(sorted, dirname(path));
  const file = `${path}.${form === 'tar.xz' ? 'tar' : form}`;
  const plain = form === 'zip' ? zipOf(sorted, HANDED_IN) : tarOf(sorted, HANDED_IN);
  await write(file, form === 'tar.gz' ? gzipSync(plain) : plain);
  if (form !== 'tar.xz') return file;
  await run('xz', ['-T1', '-f', file], { signal: options.signal, timeout: options.timeouts.hostTool });
  return `${file}.xz`;
}

async function packFolder(entries: readonly Entry[], dir: string): Promise<string> {
  await mkdir(dir, { recursive: true });
  for (const { path, data, link } of entries) {
    if (normalize(path).startsWith('..') || path.startsWith('/')) throw leaves(path);
    const target = join(dir, path);
    await mkdir(dirname(target), { recursive: true });
    if (link === undefined) await write(target, data);
    else await symlink(link, target);
  }
  return dir;
}

/** A repository with one commit. Its index is written anew, since git's own holds inode numbers and times. */
async function packRepository(entries: readonly Entry[], dir: string, options: MakeOptions): Promise<string> {
  await packFolder(entries, dir);
  await git(dir, ['init', '--quiet', '--template='], options);
  await git(dir, ['add', '--all', '--force'], options);
  await git(dir, ['commit', '--quiet', '-m', 'Lab 2'], options);
  await rm(join(dir, '.git/index'));
  await git(dir, ['read-tree', 'HEAD'], options);
  return dir;
}

async function packFile(entries: readonly Entry[], dir: string): Promise<string> {
  const [only, ...others] = entries;
  if (only === undefined || others.length > 0) throw notOne(entries);
  const path = join(dir, basename(only.path));
  await write(path, only.data);
  return path;
}

async function write(path: string, data: Buffer): Promise<void> {
  await writeFile(path, data);
  await utimes(path, HANDED_IN, HANDED_IN);
}

function leaves(path: string): LabError {
  return new LabError({
    code: 'fixture/invalid',
    blame: 'user',
    fact: `a hand-in that is a folder cannot hold ${path}`,
    next: 'make it an archive',
  });
}

function notOne(entries: readonly Entry[]): LabError {
  return new LabError({
    code: 'fixture/invalid',
    blame: 'user',
    fact: `a hand-in of one file cannot hold ${entries.length}`,
    evidence: entries.map(({ path }) => path),
    next: 'leave out the others, or make it a folder',
  });
}
