import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { run } from '../host/run.js';
import { type Entry, HANDED_IN, type MakeOptions } from './fixture-entry.js';
import { filler } from './fixture-extra.js';
import { git } from './fixture-git.js';
import type { PartHandIn, PartLayout } from './fixture-schema.js';
import type { ModifiedTree } from './fixture-sources.js';

export interface PartRequest {
  readonly layout: PartLayout;
  readonly handIn: PartHandIn;
  readonly tree: ModifiedTree;
  /** What is done to the finished patch. */
  readonly edits: ((patch: string) => string) | undefined;
}

/** One half of a hand-in, as files of it. */
export async function renderPart(request: PartRequest, options: MakeOptions): Promise<Entry[]> {
  const { layout, handIn, tree } = request;
  const within = handIn.name === '' ? '' : `${handIn.name ?? layout.project}/`;
  switch (handIn.style) {
    case 'none':
      return [];
    case 'loose':
      return files(tree.after, (path) => within + path);
    case 'flat':
      return files(tree.after, (path) => within + basename(path));
    case 'module':
      return files(tree.module, (path) => within + path);
    default:
      return (await patches(request, options)).map(({ path, data }) => ({
        path,
        data: encode(handIn, request.edits?.(data) ?? data),
      }));
  }
}

function files(from: ReadonlyMap<string, string>, name: (path: string) => string): Entry[] {
  return [...from].map(([path, text]) => ({ path: name(path), data: Buffer.from(text) }));
}

function encode({ crlf, bom }: PartHandIn, patch: string): Buffer {
  return Buffer.from(`${bom ? '\ufeff' : ''}${crlf ? patch.replaceAll('\n', '\r\n') : patch}`);
}

interface PatchFile {
  readonly path: string;
  readonly data: string;
}

async function patches({ layout, handIn, tree }: PartRequest, options: MakeOptions): Promise<PatchFile[]> {
  const dir = await mkdtemp(join(tmpdir(), 'lab-fixture-'));
  const usual = handIn.style === 'series' ? layout.project : `${layout.project}.patch`;
  const name = handIn.name === undefined || handIn.name === '' ? usual : handIn.name;
  try {
    if (handIn.style === 'git') return [{ path: name, data: await gitDiff(dir, tree, options) }];
    if (handIn.style === 'urN')
      return [{ path: name, data: await diffUrN(dir, { layout, handIn, tree }, options) }];
    const mails = await formatPatch(dir, tree, options);
    if (handIn.style === 'mail') return [{ path: name, data: mails.map(({ data }) => data).join('') }];
    return mails.map(({ path, data }) => ({ path: `${name}/${path}`, data }));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function gitDiff(dir: string, tree: ModifiedTree, options: MakeOptions): Promise<string> {
  await put(join(dir, 'a'), tree.before);
  await put(join(dir, 'b'), tree.after);
  const patch = await git(dir, ['diff', '--no-index', '--no-prefix', 'a', 'b'], options);
  return patch.replace(/^diff --git b\/(\S+) b\//gm, 'diff --git a/$1 b/'); // for new files, git names b twice here
}

/** One commit for the new files, one for the changed ones. */
async function formatPatch(dir: string, tree: ModifiedTree, options: MakeOptions): Promise<PatchFile[]> {
  const repository = join(dir, 'repository');
  const changed = [...tree.after].filter(([path]) => tree.before.has(path));
  const added = [...tree.after].filter(([path]) => !tree.before.has(path));
  await put(repository, new Map([['README', 'vanilla\n'], ...tree.before]));
  await git(repository, ['init', '--quiet', '--template='], options);
  await commit(repository, 'Vanilla', options);
  for (const [subject, files] of [
    ['lab: add the sources', added],
    ['lab: add to the build', changed],
  ] as const) {
    if (files.length === 0) continue;
    await put(repository, new Map(files));
    await commit(repository, subject, options);
  }
  const mails = join(dir, 'mails');
  await mkdir(mails);
  const range = ['--root', `HEAD~${Number(added.length > 0) + Number(changed.length > 0)}..HEAD`];
  await git(repository, ['format-patch', '--quiet', '--signature=2.43.0', '-o', mails, ...range], options);
  const names = (await readdir(mails)).sort();
  return await Promise.all(
    names.map(async (path) => ({ path, data: await readFile(join(mails, path), 'utf8') })),
  );
}

async function commit(repository: string, subject: string, options: MakeOptions): Promise<void> {
  await git(repository, ['add', '--all', '--force'], options);
  await git(repository, ['commit', '--quiet', '-m', subject], options);
}

async function diffUrN(
  dir: string,
  { layout, handIn, tree }: Omit<PartRequest, 'edits'>,
  { signal, timeouts }: MakeOptions,
): Promise<string> {
  await put(join(dir, 'old'), tree.before);
  await put(join(dir, 'new'), tree.after);
  if (handIn.products) {
    const [first = 'my-rng'] = [...tree.after.keys()];
    await putFile(join(dir, 'new', `${first.replace(/\.c$/, '')}.o`), filler(2048));
  }
  const options = {
    cwd: dir,
    env: { LC_ALL: 'C', TZ: 'UTC' },
    signal,
    timeout: timeouts.hostTool,
    accept: [0, 1, 2],
  };
  const { stdout } = await run('diff', ['-urN', 'old', 'new'], options);
  const [vanilla, work] = [handIn.vanilla ?? layout.vanilla, handIn.work ?? layout.work];
  return stdout
    .replace(/^(diff -urN) old\/(\S+) new\//gm, `$1 ${vanilla}/$2 ${work}/`)
    .replace(/^(Binary files) old\/(\S+) and new\//gm, `$1 ${vanilla}/$2 and ${work}/`)
    .replace(/^--- old\//gm, `--- ${vanilla}/`)
    .replace(/^\+\+\+ new\//gm, `+++ ${work}/`);
}

async function put(dir: string, files: ReadonlyMap<string, string>): Promise<void> {
  await mkdir(dir, { recursive: true });
  for (const [path, text] of files) await putFile(join(dir, path), text);
}

async function putFile(path: string, data: string | Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, data);
  await utimes(path, HANDED_IN, HANDED_IN);
}
