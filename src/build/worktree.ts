import { mkdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Blame, LabError } from '../errors.js';
import type { Step } from '../events.js';
import { withLock } from '../host/lock.js';
import { cacheRoot } from '../host/paths.js';
import { run } from '../host/run.js';
import { digestJson, type Json } from '../host/store.js';
import type { Timeouts } from '../timeouts.js';
import type { Contribution, TreeFile } from './contribution.js';
import { applyContributions, readTreeFile, type TreeChanges } from './tree.js';

/** What a build needs to know of a resolved source. */
export interface SourceTree {
  readonly project: 'qemu' | 'linux';
  readonly version: string;
  /** Changes whenever a file below `tree` does. */
  readonly digest: string;
  /** The unpacked source; never written to. */
  readonly tree: string;
  readonly origin: { readonly kind: 'path' | 'upstream' | 'mirror' | 'debian' };
}

export interface BuildContext {
  readonly step: Step;
  readonly timeouts: Timeouts;
}

export interface WorkTreeRequest {
  readonly source: SourceTree;
  /** What besides the source makes build products incompatible: configure options, versions of tools. */
  readonly key: Json;
  readonly contributions: readonly Contribution[];
}

/** A private copy of a source tree with contributions, and a build folder that survives between builds. */
export interface WorkTree {
  readonly dir: string;
  readonly src: string;
  readonly build: string;
  /** The source that `src` is a copy of, its digest, and who answers for it. */
  readonly pristine: string;
  readonly source: string;
  readonly blame: Blame;
  /** Paths of `src` that are contributed or changed, each with the contribution that did it last. */
  readonly contributed: ReadonlyMap<string, Contribution>;
  /** True when an earlier build did not end by itself: its newest products are not to be trusted. */
  readonly interrupted: boolean;
}

/**
 * Runs `body` with the work tree of a source and key, its contributions synchronised, while nobody else uses it.
 *
 * Work trees live in `<cache>/work/<project>-<key>/`. Only files whose content differs are written, so the build tools
 * recompile only those; what earlier contributions changed is taken back from the pristine source. A crash at any
 * point is repaired by the next call. When `body` throws anything but a LabError of its own findings (code `build/…`),
 * the tree counts as interrupted.
 */
export async function withWorkTree<T>(
  request: WorkTreeRequest,
  { step, timeouts }: BuildContext,
  body: (tree: WorkTree) => Promise<T>,
): Promise<T> {
  const { source } = request;
  const name = `${source.project}-${digestJson({ source: identityOf(source), key: request.key }).slice(0, 16)}`;
  const dir = join(workRoot(), name);
  const onWait = () => step.note(`another command is building ${source.project}; waiting for it`);
  return await withLock(`${dir}.lock`, { signal: step.signal, onWait }, async () => {
    await populate(dir, request, { step, timeouts });
    const options = { signal: step.signal, timeout: timeouts.hostTool };
    const changes = await applyContributions(source.tree, request.contributions, options);
    await synchronise(dir, source.tree, changes);
    const contributed = new Map([...changes].map(([path, { by }]) => [path, by]));
    const tree = {
      dir,
      src: join(dir, 'src'),
      build: join(dir, 'build'),
      pristine: source.tree,
      source: source.digest,
      blame: source.origin.kind === 'path' ? 'user' : 'host',
      contributed,
    } as const;
    return await marked(join(dir, 'building'), (interrupted) => body({ ...tree, interrupted }));
  });
}

/** A tree that its user works on keeps its work tree, so that an edit there costs no full build. */
function identityOf({ origin, tree, digest }: SourceTree): string {
  return origin.kind === 'path' ? tree : digest;
}

/** Where work trees live. Each may be deleted while no build runs. */
export function workRoot(): string {
  return join(cacheRoot(), 'work');
}

async function marked<T>(stamp: string, body: (interrupted: boolean) => Promise<T>): Promise<T> {
  const interrupted = (await readTextIfAny(stamp)) !== undefined;
  await writeFile(stamp, '');
  try {
    const result = await body(interrupted);
    await rm(stamp);
    return result;
  } catch (error) {
    if (error instanceof LabError && error.code.startsWith('build/')) await rm(stamp);
    throw error;
  }
}

/** Brings `src` to the state of the source: a copy at first; for a tree that its user works on, what changed since. */
async function populate(
  dir: string,
  request: WorkTreeRequest,
  { step, timeouts }: BuildContext,
): Promise<void> {
  const { project, version, digest, tree, origin } = request.source;
  const record = join(dir, 'source.json');
  const text = `${JSON.stringify({ project, version, digest, tree })}\n`;
  const before = await readTextIfAny(record);
  if (before === text) return;
  const refresh = before !== undefined && origin.kind === 'path';
  step.note(`${refresh ? 'refreshing the' : 'making a'} work tree of ${project} ${version}`);
  const options = { signal: step.signal, timeout: timeouts.build };
  if (!refresh) {
    await rm(dir, { recursive: true, force: true });
    await mkdir(join(dir, 'build'), { recursive: true });
  }
  if (origin.kind === 'path') await copyUserTree(tree, join(dir, 'src'), refresh, options);
  else await copyOwnTree(tree, join(dir, 'src'), options);
  await writeAside(dir, record, Buffer.from(text));
}

interface CopyOptions {
  readonly signal: AbortSignal;
  readonly timeout: number;
}

/** What version control and builds in the tree leave there; it does not count as source, and kbuild refuses it. */
const PRODUCTS = [
  ...['/.git', '/build', '/.pc', '/.tmp_versions', 'include/generated', 'include/config', '__pycache__'],
  ...['*.o', '*.ko', '*.a', '*.mod', '*.mod.c', '*.order', '*.symvers', '*.pyc', '.*.cmd'],
  ...['/vmlinux', '/System.map', '/.config', '/.config.old'],
];

/** Files that changed get the present as their time, whatever theirs is: a build tool then sees that they did. */
async function copyUserTree(from: string, to: string, refresh: boolean, options: CopyOptions): Promise<void> {
  const excludes = PRODUCTS.map((pattern) => `--exclude=${pattern}`);
  const compare = refresh ? ['--checksum', '--delete'] : [];
  await run('rsync', ['--recursive', '--links', '--perms', ...compare, ...excludes, `${from}/`, to], options);
}

/**
 * Hard links take two seconds where a copy of Linux's 87 000 files takes up to a minute, but both names then are one
 * file: what writes in place through one of them changes the pristine source behind its digest. So they are used only
 * for a source that we unpacked, so that nobody edits it. QEMU and Linux, built into a folder of their own, leave their
 * source alone, and our own writes replace files instead of writing into them.
 */
async function copyOwnTree(from: string, to: string, options: CopyOptions): Promise<void> {
  const linked = await run('cp', ['-al', '-T', from, to], { ...options, accept: [0, 1] });
  if (linked.exitCode === 0) return;
  await rm(to, { recursive: true, force: true }); // another file system, or one without hard links
  await run('cp', ['-a', '-T', '--reflink=auto', from, to], options);
}

/**
 * Makes `src` the pristine tree plus `changes`. The list of touched paths is written before the first change and again
 * after the last, so whatever a crash leaves behind is still known to be undone.
 */
async function synchronise(dir: string, pristine: string, changes: TreeChanges): Promise<void> {
  const journal = join(dir, 'contributed.json');
  const earlier = JSON.parse((await readTextIfAny(journal)) ?? '[]') as string[];
  const touched = [...new Set([...earlier, ...changes.keys()])].sort();
  await writeAside(dir, journal, Buffer.from(JSON.stringify(touched)));
  for (const path of touched) {
    const change = changes.get(path);
    const wanted = change === undefined ? await readTreeFile(pristine, path) : change.file;
    await putFile(dir, join(dir, 'src'), path, wanted);
  }
  await writeAside(dir, journal, Buffer.from(JSON.stringify([...changes.keys()].sort())));
}

async function putFile(dir: string, src: string, path: string, wanted: TreeFile | undefined): Promise<void> {
  const target = join(src, path);
  if (wanted === undefined) return await rm(target, { force: true });
  const present = await readTreeFile(src, path);
  if (present?.data.equals(wanted.data) && present.executable === wanted.executable) return;
  await mkdir(dirname(target), { recursive: true });
  await writeAside(dir, target, wanted.data, wanted.executable ? 0o755 : 0o644);
}

/** Replaces `target` as a whole: never half a file, and never a write through a hard link. */
async function writeAside(dir: string, target: string, data: Buffer, mode = 0o644): Promise<void> {
  const aside = join(dir, 'writing');
  await rm(aside, { force: true });
  await writeFile(aside, data, { mode });
  await rename(aside, target);
}

/**
 * Makes the contributed C files newer than their objects, so that they are compiled in this build and the compiler's
 * warnings about them are seen, whatever was compiled before.
 */
export async function touchContributed({ src, contributed }: WorkTree): Promise<void> {
  const now = new Date();
  for (const [path, { kind }] of contributed) {
    const gone = (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error; // a patch may delete files
    };
    if (kind !== 'edit' && path.endsWith('.c')) await utimes(join(src, path), now, now).catch(gone);
  }
}

/** Makes the file `path` of a work tree, which a build tool watches, hold `text`; writes only if it does not yet. */
export async function putText({ dir, src }: WorkTree, path: string, text: string): Promise<void> {
  await putFile(dir, src, path, { data: Buffer.from(text), executable: false });
}

async function readTextIfAny(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
