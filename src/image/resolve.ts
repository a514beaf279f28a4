import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError } from '../errors.js';
import type { FetchContext } from '../host/fetch.js';
import { withLock } from '../host/lock.js';
import { cacheRoot } from '../host/paths.js';
import { run } from '../host/run.js';
import { artifactsRoot, digestJson, getOrMake, type Json } from '../host/store.js';
import { officialAlpineMirror, prepareAlpine } from './alpine.js';
import { prepareDebian } from './debian.js';
import { makeExt4 } from './ext4.js';
import { type Distro, guestFiles, type Package, type Prepared, recipeDigest } from './recipe.js';
import { guardSecrets, overlayTrees } from './tree.js';

export interface ImageRequest {
  /** `auto`: Alpine when a mirror answers, otherwise Debian. */
  readonly prefer: 'auto' | Distro;
  /** Base URLs tried before Alpine's own server. */
  readonly alpineMirrors: readonly string[];
  /** Default `3.19`. */
  readonly alpineVersion?: string;
  /** Path or name of qemu-img. */
  readonly qemuImg: string;
  /** Size of the guest's disk; default 2048. */
  readonly sizeMiB?: number;
  /** Ask the package servers again instead of taking the image that this request led to before. */
  readonly refresh?: boolean;
}

export interface GuestImage {
  /** Read-only qcow2 with an ext4 file system on the whole disk. */
  readonly path: string;
  /** Digest of what it was made from. */
  readonly digest: string;
  readonly distro: Distro;
  /** Release of the distribution. */
  readonly version: string;
  /** What was installed beyond the distribution's base, sorted by name. */
  readonly packages: readonly Package[];
  /** Where the packages came from. */
  readonly origin: string;
  /** What the report must say: a fallback, packages left out. */
  readonly notes: readonly string[];
  /** True when this call made it. */
  readonly fresh: boolean;
}

type Remembered = Omit<GuestImage, 'path' | 'fresh'>;

const IMAGE_FILE = 'guest.qcow2';

/**
 * The guest image for a request: from the cache without any network when the same request was answered before and
 * our own files are unchanged; otherwise resolved, fetched and made, without root and without mounting anything.
 *
 * @throws LabError of the distributions (`image/…`, `fetch/…`), `image/file-system`, `interrupted`.
 */
export async function resolveImage(request: ImageRequest, context: FetchContext): Promise<GuestImage> {
  const memory = join(cacheRoot(), 'images', `${await requestDigest(request)}.json`);
  if (request.refresh !== true) {
    const known = await recall(memory, context);
    if (known !== undefined) return known;
  }
  return await withLock(`${memory}.lock`, { signal: context.step.signal }, async () => {
    const known = request.refresh === true ? undefined : await recall(memory, context);
    return known ?? (await makeImage(request, memory, context));
  });
}

async function requestDigest(request: ImageRequest): Promise<string> {
  const distros: Distro[] = request.prefer === 'auto' ? ['alpine', 'debian'] : [request.prefer];
  return digestJson({
    prefer: request.prefer,
    alpine: request.alpineVersion ?? '3.19',
    sizeMiB: request.sizeMiB ?? 2048,
    recipes: await Promise.all(distros.map(recipeDigest)),
  });
}

/** The image of an earlier call, if it is still in the cache. */
async function recall(memory: string, { step }: FetchContext): Promise<GuestImage | undefined> {
  const text = await readFile(memory, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const remembered = JSON.parse(text) as Remembered;
  const dir = join(artifactsRoot(), 'image', remembered.digest);
  const complete = await lstat(join(dir, 'manifest.json')).catch(() => undefined);
  if (complete === undefined) return undefined;
  for (const note of remembered.notes) step.note(note);
  return { ...remembered, path: join(dir, IMAGE_FILE), fresh: false };
}

async function makeImage(request: ImageRequest, memory: string, context: FetchContext): Promise<GuestImage> {
  const work = join(cacheRoot(), 'work', `image-${randomBytes(4).toString('hex')}`);
  await mkdir(work, { recursive: true });
  try {
    const prepared = await prepare(request, work, context);
    for (const note of prepared.notes) context.step.note(note);
    const { digest, dir, fresh } = await getOrMake({
      kind: 'image',
      inputs: await inputsOf(request, prepared),
      signal: context.step.signal,
      make: (to, log) => fill(request, prepared, work, to, log, context),
    });
    const { distro, version, packages, origin, notes } = prepared;
    const remembered: Remembered = { digest, distro, version, packages, origin, notes };
    await writeWhole(memory, JSON.stringify(remembered, null, 1));
    return { ...remembered, path: join(dir, IMAGE_FILE), fresh };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function prepare(request: ImageRequest, work: string, context: FetchContext): Promise<Prepared> {
  if (request.prefer === 'debian') return await prepareDebian(work, context);
  const version = request.alpineVersion ?? '3.19';
  const mirrors = [...new Set([...request.alpineMirrors, officialAlpineMirror])];
  const alpine = join(work, 'alpine');
  await mkdir(alpine);
  try {
    return await prepareAlpine({ version, mirrors, work: alpine }, context);
  } catch (error) {
    if (request.prefer !== 'auto' || !(error instanceof LabError) || !NO_ALPINE.includes(error.code))
      throw error;
    const why = [error.message, ...error.evidence].join('; ');
    const debian = await prepareDebian(work, context);
    const note = `the guest is Debian ${debian.version} instead of Alpine ${version}: ${why}`;
    return { ...debian, notes: [note, ...debian.notes] };
  }
}

/** The faults for which another distribution is an answer. A tampered package is none of them. */
const NO_ALPINE = ['image/no-alpine-mirror', 'image/no-user-namespace', 'fetch/failed'];

async function inputsOf(request: ImageRequest, prepared: Prepared): Promise<Record<string, Json>> {
  return {
    distro: prepared.distro,
    version: prepared.version,
    packages: prepared.packages.map(({ name, version }) => ({ name, version })),
    files: prepared.files,
    recipe: await recipeDigest(prepared.distro),
    sizeMiB: request.sizeMiB ?? 2048,
  };
}

async function fill(
  request: ImageRequest,
  prepared: Prepared,
  work: string,
  to: string,
  log: string,
  { step, timeouts }: FetchContext,
): Promise<void> {
  const own = await guestFiles(prepared.distro);
  const tree = guardSecrets(own.reduce(overlayTrees, await prepared.unpack(log)));
  const raw = join(work, 'guest.raw');
  const common = { log, signal: step.signal, timeout: timeouts.smallBuild };
  const sizeMiB = request.sizeMiB ?? 2048;
  await makeExt4({ tree, to: raw, script: join(work, 'fill.debugfs'), sizeMiB, ...common });
  await run(request.qemuImg, ['convert', '-f', 'raw', '-O', 'qcow2', raw, join(to, IMAGE_FILE)], common);
}

async function writeWhole(path: string, text: string): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}
