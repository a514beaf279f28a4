import { cp, lstat, mkdir, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import type { Contribution } from '../build/contribution.js';
import { applyContributions } from '../build/tree.js';
import { LabError } from '../errors.js';
import { runStep, type StepContext } from '../events.js';
import { withLock } from '../host/lock.js';
import { cacheRoot } from '../host/paths.js';
import { digestJson } from '../host/store.js';
import type { Lab, Skeleton } from '../lab/lab.js';
import { type PrepareOptions, prepareSteps, sourceRequest } from '../lab/prepare.js';
import type { Project } from '../sources/releases.js';
import { resolveSource } from '../sources/resolve.js';
import type { ResolvedSource } from '../sources/source.js';
import type { Timeouts } from '../timeouts.js';
import { type CopyContext, copyTree, timeOf } from './copy-tree.js';
import {
  type MadeFrom,
  readRecord,
  WORK_FILE,
  type WorkFolder,
  type WorkRecord,
  writeRecord,
} from './record.js';

/** What a work folder is made of. */
export type WorkPart = Project | 'module';

export const workParts: readonly WorkPart[] = ['qemu', 'linux', 'module'];

export interface WorkRequest {
  readonly options: PrepareOptions;
  /** Absolute path; made when it is not there. */
  readonly folder: string;
  readonly parts: readonly WorkPart[];
}

export interface MadeWork extends WorkFolder {
  /** Parts that this call made; the others were there. */
  readonly made: readonly WorkPart[];
}

/** The steps of `makeWork`. */
export const workSteps = {
  qemuSource: prepareSteps.qemuSource,
  linuxSource: prepareSteps.linuxSource,
  qemuCopy: 'Copy QEMU',
  linuxCopy: 'Copy Linux',
  module: 'Module and application',
} as const;

/**
 * A folder in which a student works: copies of the vanilla trees with the exercise's skeleton in them, the frame of a
 * loadable module, the application. Nothing in it is shared with the cache.
 *
 * Each part appears as a whole or not at all, and what is there is never written to again: the next call adds what is
 * missing. Interrupted, it removes what is half done.
 *
 * @throws LabError `work/no-skeleton`, `work/foreign-folder`, `work/other-source`, `work/no-space`; `interrupted`; what
 *   finding the sources throws.
 */
export async function makeWork(
  request: WorkRequest,
  context: StepContext,
  timeouts: Timeouts,
): Promise<MadeWork> {
  const { folder, options } = request;
  const skeleton = skeletonOf(options.lab);
  const lock = join(cacheRoot(), 'work-folders', `${digestJson(folder).slice(0, 16)}.lock`);
  return await withLock(lock, { signal: context.signal }, async () => {
    let record = await openFolder(request);
    const made: WorkPart[] = [];
    for (const project of ['qemu', 'linux'] as const) {
      if (!request.parts.includes(project)) continue;
      if (await exists(join(folder, project))) requireSame(record.trees[project], project, request);
      else {
        record = await makeTree({ ...request, record, project, skeleton }, context, timeouts);
        made.push(project);
      }
    }
    if (request.parts.includes('module') && (await makeRest(folder, skeleton, context))) made.push('module');
    return { folder, record, made };
  });
}

/** @throws LabError `work/no-skeleton`. */
export function skeletonOf({ name, skeleton }: Lab): Skeleton {
  if (skeleton !== undefined) return skeleton;
  throw new LabError({
    code: 'work/no-skeleton',
    blame: 'user',
    fact: `the lab ${name} has no skeleton to start from`,
    next: 'choose another lab: lab work my-rng',
  });
}

/** The record of the folder, which is made, or is ours already. @throws LabError `work/foreign-folder`. */
async function openFolder({ folder, options: { lab } }: WorkRequest): Promise<WorkRecord> {
  await mkdir(folder, { recursive: true }).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'EEXIST' || cause.code === 'ENOTDIR') throw foreignFolder(folder, 'it is a file');
    throw cause;
  });
  const record = await readRecord(folder);
  if (record !== undefined) {
    if (record.lab === lab.name) return record;
    throw foreignFolder(folder, `it is a work folder of the lab ${record.lab}`);
  }
  const [first] = await readdir(folder);
  if (first !== undefined) throw foreignFolder(folder, `it holds ${first}, and no ${WORK_FILE}`);
  const empty: WorkRecord = { format: 'lab-work/1', lab: lab.name, trees: {} };
  await writeRecord({ folder, record: empty });
  return empty;
}

/** Another version was asked for than the one that is there. */
function requireSame(from: MadeFrom | undefined, project: Project, { folder, options }: WorkRequest): void {
  const { path, version } = options[project];
  const asked = path === undefined ? from?.path : resolve(path);
  if (from !== undefined && from.path === asked && from.wanted === (version ?? from.wanted)) return;
  throw new LabError({
    code: 'work/other-source',
    blame: 'user',
    fact: `${join(folder, project)} is there already, and not made of what was asked for`,
    evidence:
      from === undefined
        ? [`${WORK_FILE} does not know it`]
        : [`made of ${from.version}: ${from.origin.detail}`],
    next: 'make another work folder with --into DIR',
  });
}

interface TreeRequest extends WorkRequest {
  readonly record: WorkRecord;
  readonly project: Project;
  readonly skeleton: Skeleton;
}

async function makeTree(request: TreeRequest, context: StepContext, timeouts: Timeouts): Promise<WorkRecord> {
  const { folder, project, options, skeleton } = request;
  const source = await runStep(context, `${project}Source`, workSteps[`${project}Source`], async (step) => {
    const value = await resolveSource(sourceRequest(project, options), { step, timeouts });
    return { value, detail: value.version, outcome: value.fresh ? 'done' : 'cached' };
  });
  return await runStep(context, `${project}Copy`, workSteps[`${project}Copy`], async (step) => {
    const aside = join(folder, `.${project}.part`);
    try {
      await rm(aside, { recursive: true, force: true }); // of a call that was killed
      await copyTree(source, aside, folder, { step, timeouts });
      const copied = await timeOf(join(folder, '.copied'));
      await contribute(source.tree, aside, skeleton[project], { step, timeouts });
      const record = withTree(request, source, copied);
      await writeRecord({ folder, record });
      await rename(aside, join(folder, project));
      return { value: record, detail: join(folder, project) };
    } finally {
      await rm(aside, { recursive: true, force: true });
    }
  });
}

function withTree(
  { record, project, options }: TreeRequest,
  source: ResolvedSource,
  copied: number,
): WorkRecord {
  const { version, wanted, origin, digest } = source;
  const { path } = options[project];
  const from = {
    version,
    wanted,
    origin,
    digest,
    copied,
    ...(path === undefined ? {} : { path: origin.detail }),
  };
  return { ...record, trees: { ...record.trees, [project]: from } };
}

async function contribute(
  pristine: string,
  tree: string,
  contributions: readonly Contribution[],
  { step, timeouts }: CopyContext,
): Promise<void> {
  const options = { signal: step.signal, timeout: timeouts.hostTool };
  for (const [path, { file }] of await applyContributions(pristine, contributions, options)) {
    await mkdir(dirname(join(tree, path)), { recursive: true });
    if (file !== undefined) await writeFile(join(tree, path), file.data);
  }
}

/** @returns whether anything was missing. */
async function makeRest(folder: string, skeleton: Skeleton, context: StepContext): Promise<boolean> {
  const { files, shared } = skeleton;
  const missing: string[] = [];
  for (const path of [...Object.keys(files), ...Object.keys(shared)]) {
    if (!(await exists(join(folder, path)))) missing.push(path);
  }
  if (missing.length === 0) return false;
  await runStep(context, 'module', workSteps.module, async () => {
    for (const path of missing) await putFile(folder, path, skeleton);
    return { value: undefined, detail: missing.join(', ') };
  });
  return true;
}

/** A shared file is a link into the tree, or, without the tree, a copy of the skeleton's own. */
async function putFile(
  folder: string,
  path: string,
  { files, shared, linux, qemu }: Skeleton,
): Promise<void> {
  const to = join(folder, path);
  await mkdir(dirname(to), { recursive: true });
  const from = files[path];
  const target = shared[path];
  if (from !== undefined) await cp(from, to);
  else if (target !== undefined && (await exists(join(folder, target)))) {
    await symlink(relative(dirname(path), target), to);
  } else {
    const own = [...qemu, ...linux].find(
      (item) => item.kind === 'file' && target?.endsWith(`/${item.to}`) === true,
    );
    if (own?.kind === 'file') await cp(own.from, to);
  }
}

async function exists(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    () => false,
  );
}

function foreignFolder(folder: string, why: string): LabError {
  return new LabError({
    code: 'work/foreign-folder',
    blame: 'user',
    fact: `${folder} is not empty and not a work folder of this lab: ${why}`,
    next: 'name a folder that is empty or does not exist: lab work --into DIR',
  });
}
