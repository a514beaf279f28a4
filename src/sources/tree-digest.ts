import { createHash } from 'node:crypto';
import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync, type Stats } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { interrupted } from '../errors.js';
import type { Step } from '../events.js';
import { cacheRoot } from '../host/paths.js';

/**
 * Digest, sha256 hex, of a source tree: over the sorted paths of its files and links, each with its kind (executable
 * or not) and the sha256 of its content or link target. Version control and build products do not count.
 *
 * What is known of each file (size, times, inode) is kept in the cache, so the next call reads only changed files:
 * Linux's 80 000 files take some seconds at first and well under one later. Synchronous calls are several times as
 * fast here as asynchronous ones; other work gets its turn every few milliseconds.
 *
 * @throws LabError `interrupted`.
 */
export async function treeDigest(root: string, step: Step): Promise<string> {
  const breathe = breather(step);
  const files = await listFiles(root, breathe);
  const stamps = await stampAll(root, files, breathe);
  const state = sha256(stamps);
  const memo = join(cacheRoot(), 'tree-digests', sha256(root).slice(0, 32));
  const same = await readSummary(memo, state);
  if (same !== undefined) return same;
  const contents = await contentsOf(root, files, stamps, memo, breathe);
  const digest = sha256(files.map((path, i) => `${path}\0${stamps[i]?.[0]}\0${contents[i]}`));
  await writeMemo(
    memo,
    `${state} ${digest}\n`,
    stamps.map((stamp, i) => `${contents[i]} ${stamp}`).join('\n'),
  );
  return digest;
}

type Breathe = ReturnType<typeof breather>;

/** Lets the event loop run every few milliseconds and ends on abort. */
function breather(step: Step) {
  let last = performance.now();
  return async (done?: number, total?: number): Promise<void> => {
    if (performance.now() - last < 10) return;
    if (done !== undefined) step.progress(done, total, 'steps');
    await setImmediate();
    last = performance.now();
    if (step.signal.aborted) throw interrupted('reading a source tree');
  };
}

/** Folders that version control and builds make, at the top of the tree. */
const LEFT_OUT_AT_TOP = new Set(['.git', 'build', '.pc', '.tmp_versions']);

/** Folders that Kconfig and Kbuild fill, anywhere. */
const GENERATED = /(^|\/)include\/(generated|config)$|(^|\/)(\.git|__pycache__)$/;

/** Files that builds leave beside sources. */
const PRODUCT =
  /(\.(o|ko|a|mod|mod\.c|order|symvers|pyc)|\/\.[^/]+\.cmd|\/(vmlinux|System\.map|\.config|\.config\.old))$/;

async function listFiles(root: string, breathe: Breathe): Promise<string[]> {
  const files: string[] = [];
  const folders = [''];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) {
        if (!(folder === '' && LEFT_OUT_AT_TOP.has(path)) && !GENERATED.test(path)) folders.push(path);
      } else if ((entry.isFile() || entry.isSymbolicLink()) && !PRODUCT.test(`/${path}`)) files.push(path);
    }
    await breathe();
  }
  return files.sort();
}

/** For each file its kind, and what changes whenever it does: no program sets the time of the last inode change. */
async function stampAll(root: string, files: readonly string[], breathe: Breathe): Promise<string[]> {
  const stamps: string[] = [];
  for (const path of files) {
    const stats = lstatSync(join(root, path));
    stamps.push(`${kindOf(stats)} ${stats.size} ${stats.mtimeMs} ${stats.ctimeMs} ${stats.ino} ${path}`);
    if (stamps.length % 64 === 0) await breathe();
  }
  return stamps;
}

/** `f` file, `x` executable file, `l` link. */
function kindOf(stats: Stats): string {
  if (stats.isSymbolicLink()) return 'l';
  return (stats.mode & 0o111) === 0 ? 'f' : 'x';
}

/** The digest that this state of the tree had before. */
async function readSummary(memo: string, state: string): Promise<string | undefined> {
  const text = await readFile(memo, 'utf8').catch(() => '');
  const [, before, digest] = /^([0-9a-f]{64}) ([0-9a-f]{64})\n$/.exec(text) ?? [];
  return before === state ? digest : undefined;
}

async function contentsOf(
  root: string,
  files: readonly string[],
  stamps: readonly string[],
  memo: string,
  breathe: Breathe,
): Promise<string[]> {
  const known = await readMemo(memo);
  const contents: string[] = [];
  for (const [i, path] of files.entries()) {
    const stamp = stamps[i] ?? '';
    const content = known.get(stamp);
    contents.push(content ?? contentOf(join(root, path), stamp.startsWith('l')));
    await breathe(i, files.length);
  }
  return contents;
}

async function readMemo(memo: string): Promise<Map<string, string>> {
  const text = await readFile(`${memo}.files`, 'utf8').catch(() => '');
  return new Map(text.split('\n').map((line) => [line.slice(65), line.slice(0, 64)]));
}

/** Reads through one buffer: 80 000 of them would pile up faster than they are collected. */
const buffer = Buffer.allocUnsafe(256 * 1024);

function contentOf(path: string, isLink: boolean): string {
  if (isLink) return sha256(readlinkSync(path));
  const hash = createHash('sha256');
  const file = openSync(path, 'r');
  try {
    for (let n = readSync(file, buffer); n > 0; n = readSync(file, buffer))
      hash.update(buffer.subarray(0, n));
  } finally {
    closeSync(file);
  }
  return hash.digest('hex');
}

/** The summary last: it must never describe files that are not there yet. */
async function writeMemo(memo: string, summary: string, files: string): Promise<void> {
  await mkdir(dirname(memo), { recursive: true });
  for (const [name, text] of [
    [`${memo}.files`, files],
    [memo, summary],
  ] as const) {
    await writeFile(`${name}.${process.pid}.part`, text);
    await rename(`${name}.${process.pid}.part`, name);
  }
}

/** Of a text, or of lines with a newline after each. */
function sha256(data: string | readonly string[]): string {
  const hash = createHash('sha256');
  if (typeof data === 'string') hash.update(data);
  else for (const line of data) hash.update(`${line}\n`);
  return hash.digest('hex');
}
