import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import {
  chmod,
  lstat,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join, relative } from 'node:path';
import { LabError } from '../errors.js';
import { withLock } from './lock.js';
import { cacheRoot } from './paths.js';

/** Anything that JSON can hold; the digest of an artifact is taken over its inputs in this form. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export interface Artifact {
  /** sha256 of kind and inputs, hex. */
  readonly digest: string;
  /** Read-only folder with what was made, plus `inputs.json`, `build.log` and `manifest.json`. */
  readonly dir: string;
  /** True when this call made it. */
  readonly fresh: boolean;
}

export interface MakeRequest {
  /** First level in the cache: `qemu`, `linux`, `image`, … */
  readonly kind: string;
  /** Everything that determines the result: digests, versions, options. */
  readonly inputs: { readonly [key: string]: Json };
  readonly signal?: AbortSignal | undefined;
  /** Called when another process is making the same artifact and we wait for it. */
  readonly onWait?: (() => void) | undefined;
  /** Fills the empty folder `dir`; `log` is the path of its build log, kept also when this throws. */
  readonly make: (dir: string, log: string) => Promise<void>;
}

/**
 * The artifact of these inputs: from the cache, or made now.
 *
 * It is made in a folder aside, listed with the sha256 of every file, renamed into place and made read-only, under
 * a lock per digest: concurrent callers make it once, and a crash leaves nothing that looks finished.
 */
export async function getOrMake(request: MakeRequest): Promise<Artifact> {
  const digest = digestJson({ kind: request.kind, inputs: request.inputs });
  const dir = join(artifactsRoot(), request.kind, digest);
  if (await isComplete(dir)) return { digest, dir, fresh: false };
  return await withLock(`${dir}.lock`, request, async () => {
    if (await isComplete(dir)) return { digest, dir, fresh: false };
    await makeAside(request, dir);
    return { digest, dir, fresh: true };
  });
}

async function makeAside(request: MakeRequest, dir: string): Promise<void> {
  const aside = `${dir}.${randomBytes(4).toString('hex')}.part`;
  const log = `${dir}.log`;
  await mkdir(aside, { recursive: true });
  await writeFile(log, '');
  try {
    await request.make(aside, log);
    await writeFile(join(aside, 'inputs.json'), `${JSON.stringify(request.inputs, null, 2)}\n`);
    await writeFile(join(aside, 'build.log'), await readFile(log));
    const manifest = await listFiles(aside);
    await writeFile(join(aside, 'manifest.json'), `${JSON.stringify(manifest, null, 1)}\n`);
    await rename(aside, dir);
    await makeReadOnly(dir);
    await rm(log);
  } catch (error) {
    await rm(aside, { recursive: true, force: true });
    throw error;
  }
}

/** Where artifacts live: `<cache>/artifacts/<kind>/<digest>/`. */
export function artifactsRoot(): string {
  return join(cacheRoot(), 'artifacts');
}

/** Files up to this many bytes are read at once; streams cost more than that for thousands of them. */
const SMALL = 1 << 20;

/** Files of an artifact that are handled at the same time. */
const BATCH = 32;

/** sha256, hex, of a JSON value with its keys in sorted order. */
export function digestJson(value: Json): string {
  return createHash('sha256').update(canonical(value)).digest('hex');
}

function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${entries.map(([k, v]) => `${JSON.stringify(k)}:${canonical(v)}`).join(',')}}`;
  }
  return JSON.stringify(value);
}

/** sha256, hex, of a file's bytes. */
export async function digestFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  if ((await stat(path)).size <= SMALL) return hash.update(await readFile(path)).digest('hex');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest('hex');
}

/** A finished artifact has its manifest: it is the last file written before the rename. Marks it as just used. */
async function isComplete(dir: string): Promise<boolean> {
  try {
    await lstat(join(dir, 'manifest.json'));
  } catch {
    return false;
  }
  const now = new Date();
  await utimes(dir, now, now).catch(() => {}); // another user's cache: only the order of pruning is lost
  return true;
}

async function listFiles(dir: string): Promise<Record<string, string>> {
  const manifest = new Map<string, string>();
  await eachFile(dir, async (path) => void manifest.set(relative(dir, path), await digestFile(path)));
  return Object.fromEntries([...manifest].sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function makeReadOnly(dir: string): Promise<void> {
  await eachFile(dir, async (path) => await chmod(path, (await lstat(path)).mode & 0o555));
}

/** Several at a time: an artifact may have thousands of small files. */
async function eachFile(dir: string, body: (path: string) => Promise<void>): Promise<void> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  for (let i = 0; i < paths.length; i += BATCH) await Promise.all(paths.slice(i, i + BATCH).map(body));
}

/**
 * Compares every file of an artifact with its manifest.
 *
 * @returns the names of files that are missing or differ; empty when it is intact.
 * @throws LabError `store/no-manifest`.
 */
export async function verifyArtifact(dir: string): Promise<string[]> {
  const manifest = await readManifest(dir);
  const bad: string[] = [];
  for (const [name, expected] of Object.entries(manifest)) {
    const actual = await digestFile(join(dir, name)).catch(() => undefined);
    if (actual !== expected) bad.push(name);
  }
  return bad;
}

async function readManifest(dir: string): Promise<Record<string, string>> {
  try {
    return JSON.parse(await readFile(join(dir, 'manifest.json'), 'utf8')) as Record<string, string>;
  } catch (cause) {
    throw new LabError({
      code: 'store/no-manifest',
      blame: 'host',
      fact: `${dir} has no readable manifest.json, so it is no finished artifact`,
      next: `remove it: rm -r ${dir}`,
      cause,
    });
  }
}
