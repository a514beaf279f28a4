import { mkdir, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LabError } from '../errors.js';
import type { Step } from '../events.js';
import { withLock } from '../host/lock.js';
import { cacheRoot } from '../host/paths.js';
import { run } from '../host/run.js';
import { digestJson, type Json } from '../host/store.js';
import type { Timeouts } from '../timeouts.js';
import {
  applyContributions,
  type Contribution,
  readTreeFile,
  type TreeChanges,
  type TreeFile,
} from './tree.js';

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
  /** True for a build system that promises to leave the source alone when its output goes elsewhere. */
  readonly sourceIsReadOnly: boolean;
}

/** A private copy of a source tree with contributions, and a build folder that survives between builds. */
export interface WorkTree {
  readonly dir: string;
  readonly src: string;
  readonly build: string;
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
  const name = `${source.project}-${digestJson({ source: source.digest, key: request.key }).slice(0, 16)}`;
  const dir = join(workRoot(), name);
  const onWait = () => step.note(`another command is building ${source.project}; waiting for it`);
  return await withLock(`${dir}.lock`, { signal: step.signal, onWait }, async () => {
    await populate(dir, request, { step, timeouts });
    const options = { signal: step.signal, timeout: timeouts.hostTool };
    const changes = await applyContributions(source.tree, request.contributions, options);
    await synchronise(dir, source.tree, changes);
    const contributed = new Map([...changes].map(([path, { by }]) => [path, by]));
    const tree = { dir, src: join(dir, 'src'), build: join(dir, 'build'), contributed };
    return await marked(join(dir, 'building'), (interrupted) => body({ ...tree, interrupted }));
  });
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

async function populate(
  dir: string,
  request: WorkTreeRequest,
  { step, timeouts }: BuildContext,
): Promise<void> {
  const { source } = request;
  if ((await readTextIfAny(join(dir, 'source.json'))) !== undefined) return;
  step.note(`preparing a work tree of ${source.project} ${source.version}`);
  await rm(dir, { recursive: true, force: true });
  await mkdir(join(dir, 'build'), { recursive: true });
  await copyTree(source.tree, join(dir, 'src'), mayShare(request), {
    signal: step.signal,
    timeout: timeouts.build,
  });
  const { project, version, digest, tree } = source;
  await writeAside(
    dir,
    join(dir, 'source.json'),
    Buffer.from(`${JSON.stringify({ project, version, digest, tree })}\n`),
  );
}

/**
 * Hard links take two seconds where a copy of 87 000 files takes up to a minute, but both names then are one file:
 * a tool or an editor that writes in place through one of them changes the pristine source behind its digest. So they
 * are used only when nobody edits the source (we unpacked it) and its build system keeps its hands off it; our own
 * writes replace files instead of writing into them. Everything else is copied.
 */
function mayShare({ source, sourceIsReadOnly }: WorkTreeRequest): boolean {
  return sourceIsReadOnly && source.origin.kind !== 'path';
}

async function copyTree(
  from: string,
  to: string,
  share: boolean,
  options: { readonly signal: AbortSignal; readonly timeout: number },
): Promise<void> {
  // a repository is of no use to a build, and QEMU compiles with -Werror beside one
  const parts = (await readdir(from)).filter((name) => name !== '.git').map((name) => join(from, name));
  const copy = async (how: readonly string[]) => {
    await mkdir(to);
    return await run('cp', ['-a', ...how, '-t', to, ...parts], { ...options, accept: share ? [0, 1] : [0] });
  };
  if (share) {
    if ((await copy(['-l'])).exitCode === 0) return;
    await rm(to, { recursive: true }); // another file system, or one without hard links
  }
  await copy(['--reflink=auto']);
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

/** Writes a file that a build tool watches, unless it holds `text` already. */
export async function writeIfDifferent(path: string, text: string): Promise<void> {
  if ((await readTextIfAny(path)) !== text) await writeFile(path, text);
}

async function readTextIfAny(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
