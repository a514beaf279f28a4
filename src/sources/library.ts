import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cacheRoot } from '../host/paths.js';
import { digestJson } from '../host/store.js';
import type { Project } from './releases.js';
import type { Origin } from './source.js';

/** What `source.json` beside an unpacked tree says. */
export interface SourceRecord {
  readonly project: Project;
  readonly version: string;
  readonly origin: Origin;
  readonly digest: string;
  readonly patched: readonly string[];
  /** The requested versions that this source was the answer to. */
  readonly answers: readonly string[];
}

export interface StoredSource {
  readonly record: SourceRecord;
  readonly tree: string;
}

/** `<cache>/sources/<project>-<version>-<digest>/` holds `tree/` and `source.json`. */
export function sourcesRoot(): string {
  return join(cacheRoot(), 'sources');
}

/** All unpacked sources of a project in the cache. */
export async function storedSources(project: Project): Promise<StoredSource[]> {
  const found: StoredSource[] = [];
  for (const name of (await readdir(sourcesRoot()).catch(() => [])).sort()) {
    if (!name.startsWith(`${project}-`)) continue;
    const folder = join(sourcesRoot(), name);
    const text = await readFile(join(folder, 'source.json'), 'utf8').catch(() => undefined);
    if (text !== undefined)
      found.push({ record: JSON.parse(text) as SourceRecord, tree: join(folder, 'tree') });
  }
  return found;
}

/**
 * Moves an unpacked tree into the cache. The record is complete before the folder has its name, so that a crash
 * leaves nothing that looks finished.
 *
 * @param root the tree; on the cache's file system.
 */
export async function storeSource(root: string, record: SourceRecord): Promise<StoredSource> {
  const name = `${record.project}-${record.version}-${record.digest.slice(0, 12)}`;
  const folder = join(sourcesRoot(), name);
  const aside = `${root}.entry`;
  await mkdir(aside);
  await rename(root, join(aside, 'tree'));
  await writeJson(join(aside, 'source.json'), record);
  await rename(aside, folder).catch(async (error: NodeJS.ErrnoException) => {
    // Somebody who asked for another version got the same source in the meantime.
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    await rm(aside, { recursive: true });
  });
  return { record, tree: join(folder, 'tree') };
}

/** Remembers that a stored source also answers a request for `wanted`. */
export async function addAnswer({ record, tree }: StoredSource, wanted: string): Promise<StoredSource> {
  if (record.answers.includes(wanted)) return { record, tree };
  const extended = { ...record, answers: [...record.answers, wanted] };
  await writeJson(join(dirname(tree), 'source.json'), extended);
  return { record: extended, tree };
}

const DAY = 24 * 3600 * 1000;

/** A place that did not have a version, and why. */
export interface Miss {
  readonly project: Project;
  readonly wanted: string;
  readonly folder: string;
}

/** Why this place failed, if that was within the last day. */
export async function recentFailure(miss: Miss): Promise<string | undefined> {
  const path = failurePath(miss);
  const found = await stat(path).catch(() => undefined);
  if (found === undefined || Math.abs(Date.now() - found.mtimeMs) > DAY) return undefined;
  return await readFile(path, 'utf8');
}

export async function rememberFailure(miss: Miss, why: string): Promise<void> {
  await mkdir(dirname(failurePath(miss)), { recursive: true });
  await writeFile(failurePath(miss), why);
}

function failurePath({ project, wanted, folder }: Miss): string {
  return join(sourcesRoot(), '.failed', digestJson([project, wanted, folder]).slice(0, 32));
}

async function writeJson(path: string, value: object): Promise<void> {
  const aside = `${path}.${process.pid}.part`;
  await writeFile(aside, `${JSON.stringify(value, null, 2)}\n`);
  await rename(aside, path);
}
