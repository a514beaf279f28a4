import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { interrupted, isAbort, LabError } from '../errors.js';
import { readPlain } from '../host/archive.js';
import { type FetchContext, type Fetched, fetchBytes, fetchFile } from '../host/fetch.js';
import { cacheRoot } from '../host/paths.js';
import { trustFor } from './keys.js';
import type { Proof, Release } from './releases.js';
import { digestFromSums, verifyDetached } from './signature.js';

/** Longest file of sums or signature, in bytes; kernel.org's list of a whole series has under 1 MB. */
const LONGEST_PROOF = 8 << 20;

/**
 * Downloads a release's archive from `folder` and shows that it is the publisher's, by the first of the release's
 * proofs that can be had. A mirror need not hold the proofs; those are then taken from the publisher.
 *
 * @param folder URL or path of the folder that has the archive: the publisher's or a mirror's.
 * @returns the archive in the cache's downloads; it has passed its proof.
 * @throws LabError `fetch/failed`, `fetch/digest-mismatch`, `sources/signature`, `sources/no-key`,
 *   `sources/not-listed`, `interrupted`.
 */
export async function fetchRelease(
  release: Release,
  folder: string,
  context: FetchContext,
): Promise<Fetched> {
  const why: LabError[] = [];
  for (const proof of release.proofs) {
    const expected = await expectation({ release, folder, context }, proof).catch((error) => {
      if (!canTryNext(error)) throw error;
      why.push(error);
      return undefined;
    });
    if (expected !== undefined) return await expected();
  }
  throw unproven(release, folder, why);
}

interface Job {
  readonly release: Release;
  readonly folder: string;
  readonly context: FetchContext;
}

/** A proof or its key that cannot be had says nothing about the archive; one that does not hold does. */
function canTryNext(error: unknown): error is LabError {
  return error instanceof LabError && ['fetch/failed', 'sources/no-key'].includes(error.code);
}

/** Gets everything that a proof needs, before the large download; what it returns does that download. */
async function expectation(job: Job, proof: Proof): Promise<() => Promise<Fetched>> {
  const { release, context } = job;
  if (proof.kind === 'digest') return () => fetchArchive(job, proof.sha256);
  const key = { signal: context.step.signal, timeouts: context.timeouts };
  const beside = await fetchBeside(job, proof.file);
  const trust = await trustFor(proof.keys, key);
  if (proof.kind === 'signed-sums') {
    const sha256 = await digestFromSums(beside.toString('utf8'), release.archive, trust, proof.file);
    return () => fetchArchive(job, sha256);
  }
  return async () => {
    const fetched = await fetchArchive(job, undefined);
    try {
      await using source = await readPlain(fetched.path, key.signal, proof.over === 'tar');
      await verifyDetached(source.bytes, beside, trust, release.archive);
      await source.ended;
      return fetched;
    } catch (error) {
      if (key.signal.aborted) throw interrupted(`checking ${release.archive}`);
      await rm(fetched.path, { force: true });
      throw error;
    }
  };
}

async function fetchBeside({ release, folder, context }: Job, file: string): Promise<Buffer> {
  const options = { signal: context.step.signal, timeouts: context.timeouts, maxBytes: LONGEST_PROOF };
  try {
    return await fetchBytes(`${folder}/${file}`, options);
  } catch (error) {
    if (folder === release.folder || isAbort(error)) throw error;
    return await fetchBytes(`${release.folder}/${file}`, options);
  }
}

function fetchArchive({ release, folder, context }: Job, sha256: string | undefined): Promise<Fetched> {
  const to = join(cacheRoot(), 'downloads', release.archive);
  return fetchFile({ urls: [`${folder}/${release.archive}`], to, sha256 }, context);
}

function unproven(release: Release, folder: string, why: readonly LabError[]): LabError {
  const [only] = why;
  if (why.length === 1 && only !== undefined) return only;
  return new LabError({
    code: 'fetch/failed',
    blame: 'host',
    fact: `nothing could be had from ${folder} that proves ${release.archive} to be genuine`,
    evidence: why.flatMap((error) => (error.evidence.length > 0 ? error.evidence : [error.message])),
    next: 'check the network and `https_proxy`, or name a mirror or a local file',
    cause: only,
  });
}
