import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Dispatcher } from 'undici';
import { interrupted } from '../errors.js';

const MOST_REDIRECTS = 5;

/** Bytes on their way from an http(s) URL, a file URL or a path. Whoever opened it destroys `body`. */
export interface ByteSource {
  /** After redirects. */
  readonly url: string;
  /** Offset in the file of the first byte of `body`: the one asked for, or 0 when the server ignores ranges. */
  readonly start: number;
  /** Size of the whole file in bytes, when the server says so. */
  readonly total: number | undefined;
  /** A strong ETag: with it a later range is of the same file. */
  readonly etag: string | undefined;
  readonly body: Readable;
}

/** Why one attempt at one URL gave no file. Internal to the downloads; callers see a LabError. */
export class Miss extends Error {
  readonly kind: 'final' | 'again' | 'timeout' | 'start-over';

  /** `start-over`: the bytes that are there already do not belong to the file that the server has now. */
  constructor(kind: Miss['kind'], reason: string, cause?: unknown) {
    super(reason, { cause });
    this.kind = kind;
  }
}

export interface OpenOptions {
  /** Offset to continue from, in bytes. */
  readonly from: number;
  readonly etag: string | undefined;
  readonly signal: AbortSignal;
  /** Milliseconds until the response headers of each hop must be there. */
  readonly headersTimeout: number;
}

/** What may arrive before somebody reads: never so much that undici pauses the body (see `eachChunk` in fetch.ts). */
const UNPAUSED = 32 * 1024 * 1024;

/**
 * Opener that honours `http_proxy`, `https_proxy` and `no_proxy`; disposing it closes its connections. undici is
 * loaded only when something is downloaded.
 */
export async function httpClient(): Promise<
  AsyncDisposable & { open(url: string, o: OpenOptions): Promise<ByteSource> }
> {
  const { EnvHttpProxyAgent, request } = await import('undici');
  // Many proxies refuse CONNECT to port 80, so plain http goes through them as ordinary requests.
  const dispatcher = new EnvHttpProxyAgent({ headersTimeout: 0, bodyTimeout: 0, proxyTunnel: false });
  const get: Get = (url, headers, signal) =>
    request(url, { dispatcher, headers, signal, headersTimeout: 0, bodyTimeout: 0, highWaterMark: UNPAUSED });
  return {
    open: (url, options) => (isLocal(url) ? openLocal(url, options) : openHttp(get, url, options)),
    [Symbol.asyncDispose]: () => dispatcher.destroy(),
  };
}

type Get = (
  url: string,
  headers: Record<string, string>,
  signal: AbortSignal,
) => Promise<Dispatcher.ResponseData>;

function isLocal(url: string): boolean {
  return url.startsWith('file:') || !/^[a-z][a-z0-9+.-]*:/i.test(url);
}

async function openLocal(url: string, { from, signal }: OpenOptions): Promise<ByteSource> {
  if (signal.aborted) throw interrupted(`reading ${url}`);
  const path = url.startsWith('file:') ? fileURLToPath(url) : url;
  const found = await stat(path).catch((e: NodeJS.ErrnoException) => {
    throw new Miss('final', e.code === 'ENOENT' ? 'no such file' : e.message, e);
  });
  if (!found.isFile()) throw new Miss('final', 'not a regular file');
  if (from > found.size) throw new Miss('start-over', 'the partial file is longer than the file');
  return {
    url,
    start: from,
    total: found.size,
    etag: undefined,
    body: createReadStream(path, { start: from }),
  };
}

async function openHttp(get: Get, first: string, options: OpenOptions): Promise<ByteSource> {
  let url = first;
  for (let hop = 0; hop <= MOST_REDIRECTS; hop += 1) {
    if (!/^https?:$/.test(schemeOf(url))) throw new Miss('final', `redirected to ${url}, which is not http`);
    const response = await withDeadline(options, (signal) => get(url, headersFor(options), signal));
    // An error after we lost interest in a response must not end the process.
    response.body.on('error', () => {});
    const { location } = response.headers;
    if (response.statusCode >= 300 && response.statusCode < 400 && location !== undefined) {
      response.body.destroy();
      url = new URL(String(location), url).href;
      continue;
    }
    return readAnswer(url, response, options);
  }
  throw new Miss('final', `more than ${MOST_REDIRECTS} redirects`);
}

function schemeOf(url: string): string {
  try {
    return new URL(url).protocol;
  } catch (cause) {
    throw new Miss('final', 'not a valid URL', cause);
  }
}

function headersFor({ from, etag }: OpenOptions): Record<string, string> {
  return {
    'accept-encoding': 'identity',
    'user-agent': 'lab',
    ...(from > 0 ? { range: `bytes=${from}-` } : {}),
    ...(from > 0 && etag !== undefined ? { 'if-range': etag } : {}),
  };
}

/** Name look-up, connection, TLS and headers under one deadline; undici's own timers have a resolution of seconds. */
async function withDeadline<T>(options: OpenOptions, body: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { signal, headersTimeout } = options;
  if (signal.aborted) throw interrupted('a download');
  const controller = new AbortController();
  const onAbort = () => controller.abort();
  signal.addEventListener('abort', onAbort, { once: true });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    controller.abort();
  }, headersTimeout);
  try {
    return await body(controller.signal);
  } catch (error) {
    if (signal.aborted) throw interrupted('a download');
    if (late) throw new Miss('timeout', `no answer within ${headersTimeout / 1000} s`, error);
    throw networkMiss(error);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

/** A name that does not resolve or a port that nobody answers will not change within a second; other faults may. */
const HOPELESS = new Set([
  'ENOTFOUND',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** The attempt's failure in one line, with the reason from the innermost cause that has one. */
export function networkMiss(error: unknown): Miss {
  if (error instanceof Miss) return error;
  const chain: { code?: string; message: string }[] = [];
  for (let e: unknown = error; e instanceof Error; e = e.cause) {
    const all = e instanceof AggregateError ? [e, ...e.errors] : [e];
    chain.push(...(all as { code?: string; message: string }[]));
  }
  const code =
    chain.map((e) => e.code).find((c) => c !== undefined && !c.startsWith('UND_')) ?? chain[0]?.code;
  const message = chain.map((e) => e.message).find((m) => m !== '') ?? String(error);
  const hopeless = code !== undefined && (HOPELESS.has(code) || /CERT|TLS|SELF_SIGNED/.test(code));
  return new Miss(hopeless ? 'final' : 'again', message, error);
}

function readAnswer(url: string, response: Dispatcher.ResponseData, options: OpenOptions): ByteSource {
  const { statusCode, headers, body } = response;
  const length = numberOf(headers['content-length']);
  const tag = headers.etag === undefined ? '' : String(headers.etag);
  const etag = tag.startsWith('"') ? tag : undefined;
  if (statusCode === 200) return { url, start: 0, total: length, etag, body };
  if (statusCode === 206) {
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(String(headers['content-range'] ?? ''));
    if (range !== null && Number(range[1]) === options.from) {
      return { url, start: options.from, total: numberOf(range[2]), etag, body };
    }
  }
  body.destroy();
  if (statusCode === 416 && headers['content-range'] === `bytes */${options.from}`) {
    return { url, start: options.from, total: options.from, etag, body: Readable.from([]) };
  }
  if (statusCode === 206 || statusCode === 416) {
    throw new Miss('start-over', `HTTP ${statusCode}: cannot continue from byte ${options.from}`);
  }
  const transient = statusCode >= 500 || statusCode === 408 || statusCode === 429;
  throw new Miss(transient ? 'again' : 'final', `HTTP ${statusCode}`);
}

function numberOf(text: string | string[] | undefined): number | undefined {
  return typeof text === 'string' && /^\d+$/.test(text) ? Number(text) : undefined;
}
