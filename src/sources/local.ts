import { readdir, readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { LabError } from '../errors.js';
import type { Step } from '../events.js';
import { unpack } from '../host/archive.js';
import { digestFile } from '../host/store.js';
import type { Project } from './releases.js';
import { titleOf } from './source.js';
import { treeDigest } from './tree-digest.js';

/** What a path given by the user is. */
export type LocalSource =
  | { readonly kind: 'tree'; readonly path: string; readonly version: string; readonly digest: string }
  | { readonly kind: 'tarball'; readonly path: string; readonly digest: string };

/**
 * Looks at a path given by the user: a source tree, used where it is, or a tarball of one.
 *
 * @throws LabError `sources/no-such-path`, `sources/not-a-tree`, `interrupted`.
 */
export async function inspectPath(project: Project, given: string, step: Step): Promise<LocalSource> {
  const path = resolve(given);
  const found = await stat(path).catch((cause) => Promise.reject(noSuchPath(path, cause)));
  if (found.isFile()) return { kind: 'tarball', path, digest: await digestFile(path) };
  const version = await versionOfTree(project, path);
  return { kind: 'tree', path, version, digest: await treeDigest(path, step) };
}

/**
 * The version that a tree states: QEMU's file `VERSION`, the first lines of Linux's `Makefile`.
 *
 * @throws LabError `sources/not-a-tree`.
 */
export async function versionOfTree(project: Project, tree: string): Promise<string> {
  const version = await (project === 'qemu' ? qemuVersion(tree) : linuxVersion(tree));
  if (version === undefined) throw notATree(project, tree, await readdir(tree).catch(() => []));
  return version;
}

async function qemuVersion(tree: string): Promise<string | undefined> {
  const [version] = await Promise.all([read(join(tree, 'VERSION')), read(join(tree, 'configure'))]).then(
    ([text, configure]) => (configure === undefined || !configure.includes('QEMU') ? [] : [text]),
  );
  return /^\d+\.\d+\S*$/.exec(version?.trim() ?? '')?.[0];
}

async function linuxVersion(tree: string): Promise<string | undefined> {
  const makefile = await read(join(tree, 'Makefile'));
  if (makefile === undefined || (await read(join(tree, 'Kconfig'))) === undefined) return undefined;
  return parseLinuxVersion(makefile);
}

/** `VERSION = 6`, `PATCHLEVEL = 6`, `SUBLEVEL = 4`, `EXTRAVERSION = -rc1`: 6.6.4-rc1. A sublevel of 0 is not shown. */
export function parseLinuxVersion(makefile: string): string | undefined {
  const [version, patchlevel, sublevel, extra] = ['VERSION', 'PATCHLEVEL', 'SUBLEVEL', 'EXTRAVERSION'].map(
    (name) => new RegExp(`^${name} *= *(\\S*)$`, 'm').exec(makefile)?.[1] ?? '',
  );
  if (!version || !patchlevel) return undefined;
  return `${version}.${patchlevel}${sublevel && sublevel !== '0' ? `.${sublevel}` : ''}${extra ?? ''}`;
}

async function read(path: string): Promise<string | undefined> {
  return await readFile(path, 'utf8').catch(() => undefined);
}

/**
 * Unpacks a tarball of a source tree into the empty folder `work`.
 *
 * @returns the tree's folder, in `work`: the single folder that releases have at their top, or `work/unpacked`.
 * @throws LabError as `unpack`.
 */
export async function unpackTree(tarball: string, work: string, signal: AbortSignal): Promise<string> {
  const to = join(work, 'unpacked');
  await unpack(tarball, to, { signal });
  const entries = await readdir(to, { withFileTypes: true });
  const [only] = entries;
  return entries.length === 1 && only?.isDirectory() ? join(to, only.name) : to;
}

function noSuchPath(path: string, cause: NodeJS.ErrnoException): LabError {
  return new LabError({
    code: 'sources/no-such-path',
    blame: 'user',
    fact: `the source ${path} cannot be read`,
    evidence: [cause.message],
    next: 'name a source tree or a tarball of one',
    cause,
  });
}

const SIGNS = {
  qemu: 'the files VERSION and configure',
  linux: 'a Makefile with its version, and Kconfig',
} as const;

function notATree(project: Project, tree: string, names: readonly string[]): LabError {
  return new LabError({
    code: 'sources/not-a-tree',
    blame: 'user',
    fact: `${tree} is no source tree of ${titleOf(project)}: it lacks ${SIGNS[project]}`,
    evidence: [`it holds: ${names.slice(0, 12).join(' ')}${names.length > 12 ? ' …' : ''}`],
    next: `name the top folder of a ${titleOf(project)} tree, or a release tarball`,
  });
}
