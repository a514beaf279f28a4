import { createHash } from 'node:crypto';
import { createReadStream, ftruncateSync, writeSync } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { finished, type Readable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { interrupted, isAbort, LabError } from '../errors.js';
import type { Step } from '../events.js';
import type { Timeouts } from '../timeouts.js';
import { type ByteSource, httpClient, Miss, networkMiss } from './http.js';
import { withLock } from './lock.js';

export interface FetchRequest {
  /** Tried in this order: http(s) URLs, file URLs or paths of files. */
  readonly urls: readonly string[];
  /** Path of the finished file. `to + '.part'` holds what came so far. */
  readonly to: string;
  /** Expected digests, hex. */
  readonly sha256?: string | undefined;
  readonly sha512?: string | undefined;
  /** Refuse a longer file; default 2 GiB. */
  readonly maxBytes?: number;
}

export interface Fetched {
  readonly path: string;
  /** The one of `urls` that gave the file, or the file's own URL when it was there already. */
  readonly url: string;
  readonly sha256: string;
  readonly bytes: number;
}

export interface FetchContext {
  readonly step: Step;
  readonly timeouts: Timeouts;
}

const DEFAULT_MOST = 2 * 1024 ** 3;
/** Attempts at one URL in a row that bring nothing new. */
const MOST_FAILURES = 3;
/** A body that brings less than this within `timeouts.fetchIdle` counts as dead. */
const LEAST_PER_WINDOW = 16 * 1024;

/**
 * Downloads a file: resumes, verifies, and renames it into place only when it is complete and its digests are right.
 *
 * With a digest, what an earlier call left in `.part` is continued, from any of the URLs: mirrors often send no ETag,
 * so the digest is the only guard; when it is wrong after a continuation, the download starts once from nothing.
 * Without a digest only this call's own bytes of the same URL are continued.
 * One process downloads to the same path at a time; others wait for it.
 *
 * @throws LabError `fetch/digest-mismatch` (expected, actual, URL), `fetch/failed` (one line per URL),
 *   `fetch/cannot-write`, `interrupted`.
 */
export async function fetchFile(request: FetchRequest, context: FetchContext): Promise<Fetched> {
  const { to } = request;
  const { signal } = context.step;
  await mkdir(dirname(to), { recursive: true }).catch((e) => Promise.reject(cannotWrite(to, e)));
  return await withLock(join(dirname(to), `.${basename(to)}.lock`), { signal }, async () => {
    const present = await alreadyThere(request);
    if (present !== undefined) return present;
    if (!hasDigest(request)) await rm(`${to}.part`, { force: true });
    return await tryAll(request, context);
  });
}

function hasDigest({ sha256, sha512 }: FetchRequest): boolean {
  return sha256 !== undefined || sha512 !== undefined;
}

async function alreadyThere(request: FetchRequest): Promise<Fetched | undefined> {
  const { to } = request;
  const found = await stat(to).catch(() => undefined);
  if (!found?.isFile() || !hasDigest(request)) return undefined;
  const digests = await digestsOf(to, undefined);
  if (wrongDigest(request, digests) !== undefined) return undefined;
  return { path: to, url: pathToFileURL(to).href, sha256: digests.sha256, bytes: found.size };
}

async function tryAll(request: FetchRequest, context: FetchContext): Promise<Fetched> {
  await using client = await httpClient();
  const evidence: string[] = [];
  let mismatch: LabError | undefined;
  for (const url of request.urls) {
    const download = new Download(url, request, context, client.open);
    try {
      const fetched = await download.run();
      if (mismatch !== undefined) context.step.note(mismatch.message);
      return fetched;
    } catch (error) {
      if (error instanceof Miss) evidence.push(`${url}: ${error.message}`);
      else if (error instanceof LabError && error.code === 'fetch/digest-mismatch') {
        mismatch ??= error;
        evidence.push(`${url}: wrong digest`);
      } else throw error;
    }
  }
  throw mismatch ?? failed(basename(request.to), evidence);
}

/** One URL: attempts until the file is complete and verified, or there is no point in going on. */
class Download {
  readonly #part: string;
  readonly #most: number;
  #etag: string | undefined;
  #resumed = false;

  constructor(
    readonly url: string,
    readonly request: FetchRequest,
    readonly context: FetchContext,
    readonly open: Awaited<ReturnType<typeof httpClient>>['open'],
  ) {
    this.#part = `${request.to}.part`;
    this.#most = request.maxBytes ?? DEFAULT_MOST;
  }

  async run(): Promise<Fetched> {
    if (!hasDigest(this.request)) await rm(this.#part, { force: true });
    await this.#complete();
    try {
      return await this.#place();
    } catch (error) {
      const stale = this.#resumed && error instanceof LabError && error.code === 'fetch/digest-mismatch';
      if (!stale) throw error;
    }
    await this.#complete();
    return await this.#place();
  }

  /** Until `.part` holds the whole file. Ends, because only attempts that bring new bytes are not counted. */
  async #complete(): Promise<void> {
    let best = await sizeOf(this.#part);
    for (let failures = 0; ; ) {
      try {
        return await this.#attempt();
      } catch (error) {
        const miss = missOf(error);
        const size = await sizeOf(this.#part);
        if (miss.kind === 'start-over' || size === 0) await rm(this.#part, { force: true });
        failures = size > best + LEAST_PER_WINDOW ? 0 : failures + (miss.kind === 'timeout' ? 2 : 1);
        best = Math.max(best, size);
        if (miss.kind === 'final' || failures >= MOST_FAILURES) throw miss;
      }
    }
  }

  /** The file is opened before the request: between an answer and its body's end there must be no wait. */
  async #attempt(): Promise<void> {
    const { step, timeouts } = this.context;
    const file = await open(this.#part, 'a').catch((e) => Promise.reject(cannotWrite(this.#part, e)));
    try {
      const source = await this.open(this.url, {
        from: (await file.stat()).size,
        etag: this.#etag,
        signal: step.signal,
        headersTimeout: timeouts.fetchHeaders,
      });
      await this.#save(source, file).finally(() => source.body.destroy());
      await file.sync();
    } finally {
      await file.close();
    }
  }

  async #save(source: ByteSource, file: FileHandle): Promise<void> {
    const { step, timeouts } = this.context;
    this.#etag = source.etag;
    this.#resumed ||= source.start > 0;
    if ((source.total ?? 0) > this.#most) throw tooLong(this.#most);
    if (source.start === 0) ftruncateSync(file.fd);
    let size = source.start;
    step.progress(size, source.total, 'bytes');
    await eachChunk(source.body, step.signal, timeouts.fetchIdle, (chunk) => {
      size += chunk.length;
      if (size > this.#most) throw tooLong(this.#most);
      append(file, chunk, this.#part);
      step.progress(size, source.total, 'bytes');
    });
    if (source.total !== undefined && size < source.total) {
      throw new Miss('again', `the connection ended after ${size} of ${source.total} bytes`);
    }
  }

  async #place(): Promise<Fetched> {
    const digests = await digestsOf(this.#part, this.context.step.signal);
    const wrong = wrongDigest(this.request, digests);
    const bytes = await sizeOf(this.#part);
    if (wrong !== undefined) {
      await rm(this.#part, { force: true });
      throw digestMismatch(this.url, bytes, wrong);
    }
    await rename(this.#part, this.request.to).catch((e) => Promise.reject(cannotWrite(this.request.to, e)));
    return { path: this.request.to, url: this.url, sha256: digests.sha256, bytes };
  }
}

function missOf(error: unknown): Miss {
  if (error instanceof LabError) throw error;
  return networkMiss(error);
}

function tooLong(most: number): Miss {
  return new Miss('final', `longer than the ${most} bytes allowed`);
}

async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0;
}

/** Into the page cache, so quick enough to be synchronous; see `eachChunk`. */
function append(file: FileHandle, chunk: Buffer, path: string): void {
  try {
    for (let done = 0; done < chunk.length; ) done += writeSync(file.fd, chunk, done);
  } catch (error) {
    throw cannotWrite(path, error as NodeJS.ErrnoException);
  }
}

/**
 * Hands each chunk to `use`, which is synchronous so that the body is never paused: undici 7 fails an assertion, which
 * ends the process, when a server closes the connection of a paused body. Ends at once on abort, and with a `Miss`
 * when fewer than `LEAST_PER_WINDOW` bytes came within `idle` milliseconds.
 */
async function eachChunk(
  body: Readable,
  signal: AbortSignal,
  idle: number,
  use: (chunk: Buffer) => void,
): Promise<void> {
  const stalled = new Miss('timeout', `fewer than ${LEAST_PER_WINDOW} bytes within ${idle / 1000} s`);
  const stop = (error: Error) => body.destroy(error);
  const onAbort = () => stop(interrupted('a download'));
  signal.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(() => stop(stalled), idle);
  let inWindow = 0;
  try {
    if (signal.aborted) throw interrupted('a download');
    await flow(body, (chunk) => {
      use(chunk);
      inWindow += chunk.length;
      if (inWindow < LEAST_PER_WINDOW) return;
      inWindow = 0;
      timer.refresh();
    });
  } catch (error) {
    throw signal.aborted ? interrupted('a download') : error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

/** Reads a stream to its end in flowing mode; what `use` throws ends it, and so does an end that came before. */
function flow(body: Readable, use: (chunk: Buffer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    finished(body, { writable: false }, (error) => (error ? reject(error) : resolve()));
    body.on('data', (chunk: Buffer) => {
      try {
        use(chunk);
      } catch (error) {
        body.destroy(error as Error);
      }
    });
  });
}

interface Digests {
  readonly sha256: string;
  readonly sha512: string;
}

async function digestsOf(path: string, signal: AbortSignal | undefined): Promise<Digests> {
  const [short, long] = [createHash('sha256'), createHash('sha512')];
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    if (signal?.aborted) throw interrupted('a download');
    short.update(chunk);
    long.update(chunk);
  }
  return { sha256: short.digest('hex'), sha512: long.digest('hex') };
}

interface Wrong {
  readonly name: string;
  readonly expected: string;
  readonly actual: string;
}

function wrongDigest(request: FetchRequest, actual: Digests): Wrong | undefined {
  for (const name of ['sha256', 'sha512'] as const) {
    const expected = request[name]?.toLowerCase();
    if (expected !== undefined && expected !== actual[name]) return { name, expected, actual: actual[name] };
  }
  return undefined;
}

export interface FetchTextOptions {
  /** Refuse a longer answer; default 1 MiB. */
  readonly maxBytes?: number;
  readonly signal: AbortSignal;
  readonly timeouts: Timeouts;
}

/**
 * A short text, as UTF-8, from an http(s) URL, a file URL or a path.
 *
 * @throws LabError `fetch/failed`, `interrupted`.
 */
export async function fetchText(url: string, options: FetchTextOptions): Promise<string> {
  return (await fetchBytes(url, options)).toString('utf8');
}

/** As `fetchText`, the bytes themselves. */
export async function fetchBytes(url: string, options: FetchTextOptions): Promise<Buffer> {
  await using client = await httpClient();
  for (let failures = 0; ; ) {
    try {
      return await readAll(client.open, url, options);
    } catch (error) {
      if (isAbort(error)) throw interrupted(`the download of ${url}`);
      const miss = missOf(error);
      failures += miss.kind === 'timeout' ? 2 : 1;
      if (miss.kind === 'final' || failures >= MOST_FAILURES) throw failed(url, [`${url}: ${miss.message}`]);
    }
  }
}

async function readAll(
  open: Awaited<ReturnType<typeof httpClient>>['open'],
  url: string,
  { maxBytes = 1 << 20, signal, timeouts }: FetchTextOptions,
): Promise<Buffer> {
  const source = await open(url, {
    from: 0,
    etag: undefined,
    signal,
    headersTimeout: timeouts.fetchHeaders,
  });
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    await eachChunk(source.body, signal, timeouts.fetchIdle, (chunk) => {
      size += chunk.length;
      if (size > maxBytes) throw tooLong(maxBytes);
      chunks.push(chunk);
    });
  } finally {
    source.body.destroy();
  }
  if (source.total !== undefined && size < source.total) {
    throw new Miss('again', `the connection ended after ${size} of ${source.total} bytes`);
  }
  return Buffer.concat(chunks);
}

function digestMismatch(url: string, bytes: number, wrong: Wrong): LabError {
  return new LabError({
    code: 'fetch/digest-mismatch',
    blame: 'host',
    fact: `${url} gave ${bytes} bytes that are not the expected file; they were thrown away`,
    evidence: [`expected ${wrong.name} ${wrong.expected}`, `actual   ${wrong.name} ${wrong.actual}`],
    next: 'try again; if it stays, the server or something on the way changes the file: use another mirror',
  });
}

function failed(what: string, evidence: readonly string[]): LabError {
  return new LabError({
    code: 'fetch/failed',
    blame: 'host',
    fact: `${what} could not be downloaded`,
    evidence,
    next: 'check the network and `https_proxy`, or name a mirror or a local file',
  });
}

function cannotWrite(path: string, cause: NodeJS.ErrnoException): LabError {
  const full = cause.code === 'ENOSPC' || cause.code === 'EDQUOT';
  return new LabError({
    code: 'fetch/cannot-write',
    blame: 'host',
    fact: `a download could not be written to ${path}`,
    evidence: [cause.message],
    next: full ? 'free some space, e.g. with `lab cache prune`' : 'make the folder writable',
    cause,
  });
}
