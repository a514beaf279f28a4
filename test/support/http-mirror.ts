import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** How a path answers. `ok` honours ranges. */
type Behaviour =
  | { readonly kind: 'ok' }
  | { readonly kind: 'ignore-range' }
  /** Announces the whole length, sends only `bytes` more, and cuts the connection. */
  | { readonly kind: 'truncate'; readonly bytes: number }
  /** Sends `bytes` and then nothing, with the connection open. */
  | { readonly kind: 'hang'; readonly bytes: number }
  /** Accepts the connection and never answers. */
  | { readonly kind: 'mute' }
  | { readonly kind: 'status'; readonly code: number }
  | { readonly kind: 'redirect'; readonly to: string }
  /** Sends these bytes instead, of the length they have. */
  | { readonly kind: 'lie'; readonly body: Buffer }
  /** A body without an announced length. */
  | { readonly kind: 'chunked' };

interface MirrorRequest {
  readonly method: string;
  /** As sent: a whole URL when the mirror is used as a proxy. */
  readonly target: string;
  readonly range: string | undefined;
  readonly encoding: string | undefined;
}

export interface Mirror extends AsyncDisposable {
  /** Without a slash at the end. */
  readonly url: string;
  readonly requests: MirrorRequest[];
  serve(path: string, body: Buffer | string): void;
  /** One behaviour per request to come; the last one stays. */
  behave(path: string, ...behaviours: Behaviour[]): void;
  /** Resolves when a request for the path arrives. */
  asked(path: string): Promise<void>;
}

/** A loopback HTTP server that misbehaves as told. Paths that nobody set answer 404. */
export async function startMirror(): Promise<Mirror> {
  const files = new Map<string, Buffer>();
  const plans = new Map<string, Behaviour[]>();
  const waiting = new Map<string, (() => void)[]>();
  const requests: MirrorRequest[] = [];
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://mirror.invalid').pathname;
    const { range, 'accept-encoding': encoding } = request.headers;
    requests.push({
      method: request.method ?? '',
      target: request.url ?? '',
      range,
      encoding: encoding?.toString(),
    });
    for (const wake of waiting.get(path) ?? []) wake();
    waiting.delete(path);
    const plan = plans.get(path) ?? [];
    const behaviour = (plan.length > 1 ? plan.shift() : plan[0]) ?? { kind: 'ok' };
    answer(behaviour, files.get(path), request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    serve: (path, body) => void files.set(path, Buffer.from(body)),
    behave: (path, ...behaviours) => void plans.set(path, behaviours),
    asked: (path) => new Promise((wake) => waiting.set(path, [...(waiting.get(path) ?? []), wake])),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function answer(
  how: Behaviour,
  file: Buffer | undefined,
  request: IncomingMessage,
  to: ServerResponse,
): void {
  if (how.kind === 'mute') return;
  if (how.kind === 'status') return void to.writeHead(how.code).end(`answer ${how.code}`);
  if (how.kind === 'redirect') return void to.writeHead(302, { location: how.to }).end();
  const body = how.kind === 'lie' ? how.body : file;
  if (body === undefined) return void to.writeHead(404).end('nothing here');
  if (how.kind === 'chunked') return void to.writeHead(200).end(body);
  const from = how.kind === 'ignore-range' ? 0 : startOf(request.headers.range);
  if (from > 0 && from >= body.length) {
    return void to.writeHead(416, { 'content-range': `bytes */${body.length}` }).end();
  }
  const range = from > 0 ? { 'content-range': `bytes ${from}-${body.length - 1}/${body.length}` } : {};
  to.writeHead(from > 0 ? 206 : 200, { 'content-length': body.length - from, ...range });
  if (how.kind === 'truncate') {
    to.write(body.subarray(from, from + how.bytes), () => to.destroy());
  } else if (how.kind === 'hang') {
    to.write(body.subarray(from, from + how.bytes));
  } else to.end(body.subarray(from));
}

function startOf(range: string | undefined): number {
  return Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
}
