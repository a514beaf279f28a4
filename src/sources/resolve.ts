import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isAbort, LabError } from '../errors.js';
import type { FetchContext } from '../host/fetch.js';
import { withLock } from '../host/lock.js';
import { type DebianCandidate, debianCandidates, fetchDebian } from './debian-source.js';
import {
  addAnswer,
  recentFailure,
  rememberFailure,
  type SourceRecord,
  type StoredSource,
  sourcesRoot,
  storedSources,
  storeSource,
} from './library.js';
import { inspectPath, unpackTree, versionOfTree } from './local.js';
import { isRemote, mayUse, places } from './places.js';
import { type Release, releaseOf } from './releases.js';
import { type ResolvedSource, type SourceRequest, titleOf, wantedVersion } from './source.js';
import { fetchRelease } from './upstream.js';

/**
 * The source tree for a request: from the path given, or from the first that has it of: the cache, the publisher, the
 * mirrors, Debian's packages. What was fetched is verified, unpacked and recorded in the cache, and answers the same
 * request from then on without the network.
 *
 * A publisher or mirror that failed is asked again after a day, or with `refresh`; Debian's source stands in
 * meanwhile, and a note says that its version differs.
 *
 * @param release where the publisher has the version; default as `releaseOf` gives it.
 * @throws LabError `sources/unavailable` with a line for each place tried; `sources/bad-version`;
 *   `sources/no-such-path`, `sources/not-a-tree`, `archive/…` for a path; `fetch/cannot-write`; `interrupted`.
 */
export async function resolveSource(
  request: SourceRequest,
  context: FetchContext,
  release: Release = releaseOf(request.project, wantedVersion(request)),
): Promise<ResolvedSource> {
  const job: Job = { request, context, release, wanted: wantedVersion(request), misses: [] };
  const { path } = request;
  const source = await (path === undefined ? whileLocked(job, () => fromPlaces(job)) : fromPath(path, job));
  report(source, job);
  return source;
}

interface Job {
  readonly request: SourceRequest;
  readonly context: FetchContext;
  readonly release: Release;
  readonly wanted: string;
  /** One line for each place that did not have it. */
  readonly misses: string[];
}

/** One process at a time works on a requested version; `work` is its own folder, empty at first and removed later. */
async function whileLocked<T>({ request, context, wanted }: Job, body: () => Promise<T>): Promise<T> {
  const lock = join(sourcesRoot(), `.${request.project}-${wanted}.lock`);
  const onWait = () => context.step.output('another process is getting the same source; waiting for it');
  return await withLock(lock, { signal: context.step.signal, onWait }, body);
}

/** Unpacks aside: `fill` gets an empty folder, on the cache's file system, that a killed process cannot litter with. */
async function inWorkFolder<T>({ request, wanted }: Job, fill: (work: string) => Promise<T>): Promise<T> {
  const work = join(sourcesRoot(), `.${request.project}-${wanted}.work`);
  await rm(work, { recursive: true, force: true });
  await mkdir(work, { recursive: true });
  try {
    return await fill(work);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function fromPath(path: string, job: Job): Promise<ResolvedSource> {
  const { request, context, wanted } = job;
  const local = await inspectPath(request.project, path, context.step);
  const origin = { kind: 'path', detail: local.path } as const;
  const { project } = request;
  if (local.kind === 'tree') {
    const { version, digest, path: tree } = local;
    return { project, version, wanted, origin, digest, tree, patched: [], fresh: false };
  }
  const source = await whileLocked(job, async () => {
    const known = (await storedSources(project)).find(({ record }) => record.digest === local.digest);
    if (known !== undefined) return resolved(known, job, false);
    const stored = await inWorkFolder(job, async (work) => {
      const root = await unpackTree(local.path, work, context.step.signal);
      const version = await versionOfTree(project, root);
      return await storeSource(root, {
        project,
        version,
        origin,
        digest: local.digest,
        patched: [],
        answers: [],
      });
    });
    return resolved(stored, job, true);
  });
  return { ...source, origin };
}

function resolved({ record, tree }: StoredSource, { wanted }: Job, fresh: boolean): ResolvedSource {
  const { project, version, origin, digest, patched } = record;
  return { project, version, wanted, origin, digest, tree, patched, fresh };
}

async function fromPlaces(job: Job): Promise<ResolvedSource> {
  const { request, wanted } = job;
  const stored = await storedSources(request.project);
  const exact =
    stored.find(({ record }) => record.digest === request.digest) ??
    stored.find(({ record }) => isExact(record, job));
  if (exact !== undefined) return resolved(exact, job, false);
  const published = await fromPublishers(job);
  if (published !== undefined) return published;
  if (!mayUse(request, 'debian')) throw unavailable(job);
  const standIn = stored.find(
    ({ record }) => record.origin.kind === 'debian' && record.answers.includes(wanted),
  );
  if (standIn !== undefined && request.refresh !== true) return resolved(standIn, job, false);
  if (request.offline !== true) return await fromDebian(stored, job);
  job.misses.push('Debian: not asked, because only this host may be used');
  throw unavailable(job);
}

function isExact({ version, origin }: SourceRecord, { request, wanted }: Job): boolean {
  const published = origin.kind === 'upstream' || origin.kind === 'mirror';
  return published && version === wanted && mayUse(request, origin.kind);
}

/** From the publisher or a mirror; nothing when none of them has it. */
async function fromPublishers(job: Job): Promise<ResolvedSource | undefined> {
  const { request, context, release, wanted, misses } = job;
  for (const { kind, folder } of places(request, release)) {
    const miss = { project: request.project, wanted, folder };
    const recent = request.refresh === true ? undefined : await recentFailure(miss);
    if (recent !== undefined) misses.push(`${recent} (within the last day, so not asked again)`);
    else if (request.offline === true && isRemote(folder))
      misses.push(`${folder}: not asked, because only this host may be used`);
    else {
      try {
        return await fromFolder(kind, folder, job);
      } catch (error) {
        const why = passedOver(error);
        misses.push(...why);
        await rememberFailure(miss, why.join('; '));
        context.step.output(why.join('; '));
      }
    }
  }
  return undefined;
}

/** What a failed place left to say. Faults that another place would meet as well are thrown again. */
function passedOver(error: unknown): string[] {
  const place = error instanceof LabError && /^(fetch|sources)\//.test(error.code);
  if (!place || isAbort(error) || error.code === 'fetch/cannot-write') throw error;
  if (error.code !== 'fetch/failed') return [[error.message, ...error.evidence].join('; ')];
  return error.evidence.length > 0 ? [...error.evidence] : [error.message];
}

async function fromFolder(kind: 'upstream' | 'mirror', folder: string, job: Job): Promise<ResolvedSource> {
  const { request, context, release, wanted } = job;
  const fetched = await fetchRelease(release, folder, context);
  const stored = await inWorkFolder(job, async (work) => {
    const root = await unpackTree(fetched.path, work, context.step.signal);
    await versionOfTree(request.project, root);
    return await storeSource(root, {
      project: request.project,
      version: release.version,
      origin: { kind, detail: `${folder}/${release.archive}` },
      digest: fetched.sha256,
      patched: [],
      answers: [wanted],
    });
  });
  await rm(fetched.path, { force: true });
  return resolved(stored, job, true);
}

async function fromDebian(stored: readonly StoredSource[], job: Job): Promise<ResolvedSource> {
  const { request, misses } = job;
  try {
    const first = await firstCandidate(stored, request.refresh === true, job);
    if (first !== undefined) return first;
  } catch (error) {
    misses.push(...passedOver(error));
  }
  throw unavailable(job);
}

/** What cannot be downloaded although an index names it asks for fresh indexes, once; then for the next candidate. */
async function firstCandidate(
  stored: readonly StoredSource[],
  refresh: boolean,
  job: Job,
): Promise<ResolvedSource | undefined> {
  const { request, context, wanted, misses } = job;
  const onMiss = (line: string) => void misses.push(`Debian: ${line}`);
  const search = { project: request.project, wanted, refresh, onMiss };
  for await (const candidate of debianCandidates(search, context)) {
    const known = stored.find(({ record }) => record.origin.detail === detailOf(candidate));
    if (known !== undefined) return resolved(await addAnswer(known, wanted), job, false);
    try {
      return await fromCandidate(candidate, job);
    } catch (error) {
      if (!(error instanceof LabError) || error.code !== 'sources/apt-download') throw error;
      if (!refresh) return await firstCandidate(stored, true, job);
      misses.push(`Debian: ${error.message}`);
    }
  }
  return undefined;
}

function detailOf({ suite, package: name, version }: DebianCandidate): string {
  return `${suite}: ${name} ${version}`;
}

async function fromCandidate(candidate: DebianCandidate, job: Job): Promise<ResolvedSource> {
  const { request, context, wanted } = job;
  const { project } = request;
  return await inWorkFolder(job, async (work) => {
    const { root, digest, patched } = await fetchDebian(candidate, work, context);
    const version = await versionOfTree(project, root);
    const origin = { kind: 'debian', detail: detailOf(candidate) } as const;
    const stored = await storeSource(root, { project, version, origin, digest, patched, answers: [wanted] });
    return resolved(stored, job, true);
  });
}

function report(source: ResolvedSource, { request, context, misses }: Job): void {
  const { project, version, wanted, origin, patched } = source;
  const how = patched.length > 0 ? `, with ${patched.join(', ')}` : '';
  const name = `${titleOf(project)} ${version} from ${origin.kind} (${origin.detail}${how})`;
  if (version === wanted || (origin.kind === 'path' && request.version === undefined))
    context.step.note(name);
  else context.step.note(`${name} stands in for ${wanted}${misses.length > 0 ? `: ${misses[0]}` : ''}`);
}

function unavailable({ request, wanted, misses }: Job): LabError {
  return new LabError({
    code: 'sources/unavailable',
    blame: 'host',
    fact: `no place has the source of ${titleOf(request.project)} ${wanted}`,
    evidence: misses,
    next: 'check the network and `https_proxy`, or name a source tree, a tarball or a mirror',
  });
}
