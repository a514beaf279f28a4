import { readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError } from '../errors.js';
import { type FetchContext, fetchFile } from '../host/fetch.js';
import { nearest } from '../host/nearest.js';
import { packageRoot } from '../host/paths.js';
import { type Apk, openApk, planInstall, runApk, unique } from './apk.js';
import type { Package, Prepared } from './recipe.js';
import { readTree, type Tree } from './tree.js';

/** Where Alpine publishes; `<mirror>/v3.19/main/x86_64/` and so on. */
export const officialAlpineMirror = 'https://dl-cdn.alpinelinux.org/alpine';

interface Release {
  readonly release: string;
  readonly sha512: string;
  readonly packages: readonly string[];
  readonly optional: readonly string[];
}

export interface AlpineRequest {
  /** Branch, e.g. `3.19`; one of those in `vm/alpine.json`. */
  readonly version: string;
  /** Base URLs, tried in this order. */
  readonly mirrors: readonly string[];
  /** Empty folder for what is fetched and unpacked. */
  readonly work: string;
}

/**
 * Fetches what an Alpine guest consists of: the minirootfs (pinned digest), the signed index, the packages.
 *
 * @throws LabError `image/unknown-alpine`, `image/no-alpine-mirror`, `image/no-user-namespace`, `image/apk`.
 */
export async function prepareAlpine(request: AlpineRequest, context: FetchContext): Promise<Prepared> {
  const release = await loadRelease(request.version);
  const base = await fetchBase(request, release, context);
  const others = basesOf(request).filter((other) => other !== base);
  const folders = (await sectionsOf(request.work)).map((section) => join(repository(request.work), section));
  const apk = await openApk(join(request.work, 'minirootfs.tar.gz'), request.work, folders, context);
  const packages = await planInstall(apk, release.packages, context);
  await fetchPackages(request.work, [base, ...others], packages, context);
  const extra = await addOptional(request.work, base, apk, release, packages, context);
  const all = unique([...packages, ...extra.packages]);
  const notes = extra.missing.length === 0 ? [] : [`not on this Alpine mirror: ${extra.missing.join(', ')}`];
  return {
    distro: 'alpine',
    version: release.release,
    packages: all,
    origin: base,
    files: { minirootfs: release.sha512 },
    notes,
    unpack: (log) => install(apk, [...release.packages, ...extra.names], log, context),
  };
}

async function loadRelease(version: string): Promise<Release> {
  const text = await readFile(join(packageRoot, 'vm/alpine.json'), 'utf8');
  const known = JSON.parse(text) as Record<string, Release>;
  const release = known[version];
  if (release !== undefined) return release;
  const near = nearest(version, Object.keys(known));
  throw new LabError({
    code: 'image/unknown-alpine',
    blame: 'user',
    fact: `Alpine ${version} is not pinned in vm/alpine.json`,
    evidence: [`known: ${Object.keys(known).join(', ')}`],
    next: near === undefined ? 'use a known version, or add a pin' : `did you mean ${near}?`,
  });
}

/** Everything that must be there is in `main`; `community` is used where a mirror has it. */
const SECTIONS = ['main', 'community'] as const;

/** The minirootfs and the index from the first mirror that has both. The repository folder looks like a mirror's. */
async function fetchBase(request: AlpineRequest, release: Release, context: FetchContext): Promise<string> {
  const evidence: string[] = [];
  for (const base of basesOf(request)) {
    try {
      await fetchIndex(request.work, base, 'main', context);
      const url = `${base}/releases/x86_64/alpine-minirootfs-${release.release}-x86_64.tar.gz`;
      const to = join(request.work, 'minirootfs.tar.gz');
      await fetchFile({ urls: [url], to, sha512: release.sha512, maxBytes: 64 << 20 }, context);
      await fetchIndex(request.work, base, 'community', context).catch(toleratesMiss);
      return base;
    } catch (error) {
      toleratesMiss(error);
      evidence.push((error as LabError).message, ...(error as LabError).evidence);
    }
  }
  throw new LabError({
    code: 'image/no-alpine-mirror',
    blame: 'host',
    fact: `no Alpine mirror gave the ${release.release} release`,
    evidence,
    next: 'check the network, name a mirror, or take the Debian guest',
  });
}

async function fetchIndex(work: string, base: string, section: string, context: FetchContext): Promise<void> {
  const file = `${section}/x86_64/APKINDEX.tar.gz`;
  await fetchFile(
    { urls: [`${base}/${file}`], to: join(repository(work), file), maxBytes: 64 << 20 },
    context,
  );
}

/** Rethrows everything but a server that does not have the file, or has another one. */
function toleratesMiss(error: unknown): void {
  const codes = ['fetch/failed', 'fetch/digest-mismatch'];
  if (!(error instanceof LabError) || !codes.includes(error.code)) throw error;
}

function basesOf({ mirrors, version }: AlpineRequest): string[] {
  return mirrors.map((mirror) => `${mirror.replace(/\/+$/, '')}/v${version}`);
}

function repository(work: string): string {
  return join(work, 'repository');
}

/** Those whose index came. */
async function sectionsOf(work: string): Promise<string[]> {
  const found: string[] = [];
  for (const section of SECTIONS) {
    if ((await readdir(join(repository(work), section, 'x86_64'))).includes('APKINDEX.tar.gz'))
      found.push(section);
  }
  return found;
}

/** No digests here: apk compares each package with the signed index when it installs it, and nothing is kept. */
async function fetchPackages(
  work: string,
  bases: readonly string[],
  packages: readonly Package[],
  context: FetchContext,
): Promise<void> {
  const sections = await sectionsOf(work);
  for (const [done, { name, version }] of packages.entries()) {
    context.step.progress(done, packages.length, 'steps');
    const file = `x86_64/${name}-${version}.apk`;
    const urls = bases.flatMap((base) => sections.map((section) => `${base}/${section}/${file}`));
    const to = join(repository(work), 'main', file);
    const { url } = await fetchFile({ urls, to, maxBytes: 256 << 20 }, context);
    if (url.endsWith(`/community/${file}`)) await rename(to, join(repository(work), 'community', file));
  }
}

interface Extra {
  readonly names: readonly string[];
  readonly packages: readonly Package[];
  readonly missing: readonly string[];
}

/** Packages that make the guest nicer, as far as this one mirror has them and theirs: nobody waits for them. */
async function addOptional(
  work: string,
  base: string,
  apk: Apk,
  release: Release,
  have: readonly Package[],
  context: FetchContext,
): Promise<Extra> {
  const names: string[] = [];
  const missing: string[] = [];
  const packages = new Map(have.map((p) => [p.name, p]));
  for (const name of release.optional) {
    try {
      const needed = await planInstall(apk, [...release.packages, name], context);
      const more = needed.filter((p) => !packages.has(p.name));
      await fetchPackages(work, [base], more, context);
      for (const p of needed) packages.set(p.name, p);
      names.push(name);
    } catch (error) {
      if (!(error instanceof LabError) || !['image/apk', 'fetch/failed'].includes(error.code)) throw error;
      missing.push(name);
    }
  }
  return { names, packages: [...packages.values()], missing };
}

/**
 * Package scripts are left out: they would run on the host, in a chroot that is no sandbox, and what they do (users,
 * run levels) the guest's own files do.
 */
async function install(
  apk: Apk,
  names: readonly string[],
  log: string,
  context: FetchContext,
): Promise<Tree> {
  await runApk(apk, ['add', '--no-chown', '--no-scripts', ...names], context, log);
  const tree = new Map(await readTree(apk.target));
  for (const path of [...tree.keys()]) if (isLeftOver(path)) tree.delete(path);
  return tree;
}

/** What differs from run to run and nobody reads. */
function isLeftOver(path: string): boolean {
  return path === '/lib/apk/db/lock' || path.startsWith('/var/cache/apk/') || path.startsWith('/var/log/apk');
}
