import { rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { LabError } from '../errors.js';
import { type Address, exportUri, isLocal } from './address.js';
import { backendOf } from './aligned.js';
import { Budget } from './budget.js';
import { BufferPool } from './buffers.js';
import { Connection, type ConnectionEnd } from './connection.js';
import type { AnyBlockDevice } from './device.js';
import type { Export } from './handshake.js';

export interface ServeOptions {
  readonly address: Address;
  /** Needed for an address that others than this host can reach: NBD without TLS protects nothing. */
  readonly allowRemote?: boolean;
  /** Tell clients that a device without `write` is read-only; default true. Otherwise their writes fail. */
  readonly tellReadOnly?: boolean;
  readonly onEvent?: (event: ServerEvent) => void;
  /** Milliseconds for a client's handshake; default 30 s. */
  readonly handshakeTimeout?: number;
  /** Milliseconds after which a client that takes no data is cut off, if others need its memory; default 30 s. */
  readonly stallTimeout?: number;
}

/** What happens to a server, in order. Connections are numbered from 1. */
export type ServerEvent =
  | { readonly type: 'connected'; readonly connection: number }
  | { readonly type: 'negotiated'; readonly connection: number; readonly export: string }
  | ({ readonly type: 'ended'; readonly connection: number } & ConnectionEnd)
  | { readonly type: 'unmounted'; readonly export: string }
  | { readonly type: 'device-failed'; readonly export: string; readonly error: unknown };

/** Bytes of large requests that all connections together hold. */
const BUDGET = 64 * 1024 * 1024;
/** Bytes of buffers that are kept for reuse. */
const KEPT = 16 * 1024 * 1024;
/** Connections at a time; further ones are closed at once. */
const MOST_CONNECTIONS = 256;
/** Milliseconds that requests have to end when the server closes. */
const GRACE = 5000;

/** A server that runs. Disposing of it ends it in good order: requests end, devices are unmounted. */
export interface NbdServer extends AsyncDisposable {
  /** Where it listens: with the port that the system chose. */
  readonly address: Address;
  /** The URI of an export; of the first one when none is named. */
  uri(name?: string): string;
  close(): Promise<void>;
}

/**
 * Serves block devices over NBD ("newstyle, fixed").
 *
 * @param devices one device, or several by the names under which clients ask for them; the first is the default.
 * @throws LabError `nbd/device`, `nbd/remote`, `nbd/listen`.
 */
export async function serve(
  devices: AnyBlockDevice | Readonly<Record<string, AnyBlockDevice>>,
  options: ServeOptions,
): Promise<NbdServer> {
  const { address } = options;
  if (!isLocal(address) && options.allowRemote !== true) throw remote(address);
  const mounts = (isDevice(devices) ? [['', devices] as const] : Object.entries(devices)).map(
    ([name, device]) => new Mount(name, device, options),
  );
  const running = new Running(mounts, options);
  await running.listen();
  return running;
}

function isDevice(devices: object): devices is AnyBlockDevice {
  return typeof (devices as AnyBlockDevice).blockSize === 'function';
}

/** A device and who uses it. */
class Mount {
  readonly export: Export;
  readonly #options: ServeOptions;
  #open = 0;
  #used = false;

  constructor(name: string, device: AnyBlockDevice, options: ServeOptions) {
    const { tellReadOnly = true } = options;
    this.export = { name, description: '', backend: backendOf(device), tellReadOnly };
    this.#options = options;
  }

  opened(): void {
    this.#open += 1;
    this.#used = true;
  }

  async left(graceful: boolean): Promise<void> {
    this.#open -= 1;
    if (graceful && this.#open === 0) await this.unmount();
  }

  /** Nothing, when nobody has used it since the last time. */
  async unmount(): Promise<void> {
    if (!this.#used) return;
    this.#used = false;
    const { name, backend } = this.export;
    try {
      await backend.unmount();
      this.#options.onEvent?.({ type: 'unmounted', export: name });
    } catch (error) {
      this.#options.onEvent?.({ type: 'device-failed', export: name, error });
    }
  }
}

class Running implements NbdServer {
  readonly #mounts: readonly Mount[];
  readonly #options: ServeOptions;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  readonly #leaving = new Set<Promise<void>>();
  readonly #shared = { budget: new Budget(BUDGET), pool: new BufferPool(KEPT) };
  #count = 0;
  #closed: Promise<void> | undefined;
  address: Address;

  constructor(mounts: readonly Mount[], options: ServeOptions) {
    this.#mounts = mounts;
    this.#options = options;
    this.address = options.address;
    this.#server = createServer((socket) => this.#accept(socket));
    this.#server.maxConnections = MOST_CONNECTIONS;
  }

  async listen(): Promise<void> {
    try {
      await this.#listen();
    } catch (error) {
      if (!(await this.#isStale(error))) throw cannotListen(this.address, error);
      await rm((this.address as { path: string }).path);
      await this.#listen().catch((again) => Promise.reject(cannotListen(this.address, again)));
    }
    const bound = this.#server.address();
    if (this.address.kind === 'tcp' && bound !== null && typeof bound === 'object')
      this.address = { ...this.address, port: bound.port };
  }

  uri(name = this.#mounts[0]?.export.name ?? ''): string {
    return exportUri(this.address, name);
  }

  async close(): Promise<void> {
    this.#closed ??= this.#close();
    await this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    const stopped = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const deadline = AbortSignal.timeout(GRACE);
    await Promise.all([...this.#connections].map((connection) => connection.shutDown(deadline)));
    await stopped;
    await Promise.all(this.#leaving);
    for (const mount of this.#mounts) await mount.unmount();
  }

  async #listen(): Promise<void> {
    const { address } = this;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      const listening = () => {
        this.#server.off('error', reject);
        resolve();
      };
      if (address.kind === 'unix') this.#server.listen({ path: address.path }, listening);
      else this.#server.listen({ host: address.host, port: address.port }, listening);
    });
  }

  /** A unix socket that nobody listens at any more: whoever made it was killed. */
  async #isStale(error: unknown): Promise<boolean> {
    const { address } = this;
    if (address.kind !== 'unix' || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') return false;
    return await new Promise((resolve) => {
      const probe = connect(address.path);
      probe.once('connect', () => {
        probe.destroy();
        resolve(false);
      });
      probe.once('error', (failure: NodeJS.ErrnoException) => resolve(failure.code === 'ECONNREFUSED'));
    });
  }

  #accept(socket: Socket): void {
    const id = ++this.#count;
    const { onEvent = () => {}, handshakeTimeout = 30_000, stallTimeout = 30_000 } = this.#options;
    onEvent({ type: 'connected', connection: id });
    const mountOf = (chosen: Export) => this.#mounts.find((mount) => mount.export === chosen);
    const connection = new Connection(socket, {
      exports: this.#mounts.map((mount) => mount.export),
      shared: this.#shared,
      handshakeTimeout,
      stallTimeout,
      onNegotiated: (chosen) => {
        mountOf(chosen)?.opened();
        onEvent({ type: 'negotiated', connection: id, export: chosen.name });
      },
      onEnd: (end, chosen) => {
        this.#connections.delete(connection);
        onEvent({ type: 'ended', connection: id, ...end });
        if (chosen === undefined) return;
        const leaving = mountOf(chosen)?.left(end.graceful) ?? Promise.resolve();
        this.#leaving.add(leaving);
        void leaving.then(() => this.#leaving.delete(leaving));
      },
    });
    this.#connections.add(connection);
  }
}

function remote(address: Address): LabError {
  const where = address.kind === 'tcp' ? `${address.host}:${address.port}` : address.path;
  return new LabError({
    code: 'nbd/remote',
    blame: 'user',
    fact: `${where} can be reached from other hosts, and NBD here has neither passwords nor encryption`,
    next: 'listen at 127.0.0.1 or at a unix socket, or say explicitly that remote clients are wanted',
  });
}

function cannotListen(address: Address, error: unknown): LabError {
  const where = address.kind === 'tcp' ? `${address.host}:${address.port}` : address.path;
  return new LabError({
    code: 'nbd/listen',
    blame: 'host',
    fact: `the NBD server cannot listen at ${where}`,
    evidence: [error instanceof Error ? error.message : String(error)],
    next: 'choose another port or path, or end what listens there',
    cause: error,
  });
}
