import { setMaxListeners } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import type { Client, ConnectConfig } from 'ssh2';
import { LabError } from '../errors.js';
import type { Timeouts } from '../timeouts.js';
import { fingerprintOf, publicBlob } from './keys.js';
import { Stop } from './stop.js';
import { record, type Transcript } from './transcript.js';

export interface ConnectOptions {
  /** With `dial`: only how the guest is called in messages. */
  readonly host: string;
  readonly port: number;
  /** Opens a way to the SSH server other than TCP; undefined when there is none left. */
  readonly dial?: (() => Socket | undefined) | undefined;
  readonly user: string;
  /** PEM text of the user's key. */
  readonly privateKey: string;
  /** The public key line that the guest must prove to hold. */
  readonly hostKey: string;
  readonly timeouts: Timeouts;
  /** Ends the attempt; has no meaning once connected. */
  readonly signal?: AbortSignal | undefined;
  /** Rejects when the machine is beyond use (panic, QEMU exit); everything then ends with its reason, also later. */
  readonly fatal?: Promise<never> | undefined;
  /** Milliseconds between messages that keep the connection proven alive; off when absent. */
  readonly keepalive?: number;
  readonly transcript?: Transcript | undefined;
}

/** Cheap under emulation: a post-quantum or RSA exchange costs a quarter of a second more. */
const ALGORITHMS: ConnectConfig['algorithms'] = {
  kex: ['curve25519-sha256', 'curve25519-sha256@libssh.org'],
  serverHostKey: ['ssh-ed25519'],
  cipher: ['aes128-gcm@openssh.com', 'chacha20-poly1305@openssh.com', 'aes128-ctr'],
  hmac: ['hmac-sha2-256-etm@openssh.com', 'hmac-sha2-256'],
  compress: ['none'],
};

/**
 * An authenticated SSH connection to a guest whose host key was checked.
 *
 * `death` aborts once, with a `LabError`, when it is over: `guest/lost`, `guest/closed` (by us), or the reason of
 * `fatal`. ssh2 forgets pending callbacks when that happens, so every wait on it must be raced with `death`.
 */
export class Connection implements AsyncDisposable {
  readonly client: Client;
  readonly options: ConnectOptions;
  readonly #socket: Socket;
  readonly #death = new AbortController();

  private constructor(client: Client, socket: Socket, options: ConnectOptions) {
    this.client = client;
    this.#socket = socket;
    this.options = options;
    setMaxListeners(0, this.death); // each operation adds one and takes it away
    client.on('error', (cause: Error) => this.#die(lost(options, cause)));
    client.on('end', () => this.#die(lost(options, undefined)));
    client.on('close', () => this.#die(lost(options, undefined)));
    options.fatal?.catch((reason) => this.#die(reason));
  }

  get death(): AbortSignal {
    return this.#death.signal;
  }

  /** The reason of `death`, if nothing can be sent any more; a call may find that out before the event tells. */
  whyOver(): unknown {
    if (!this.#socket.writable) this.#die(lost(this.options, undefined));
    return this.death.reason;
  }

  /**
   * One attempt, at most `timeouts.sshConnect` long.
   *
   * @param onSpoke called at the first byte from the other side: a forwarded port accepts before the guest listens.
   * @throws LabError `guest/unreachable` (worth another attempt), `guest/host-key`, `guest/auth`, `guest/protocol`,
   *   `guest/key`, `interrupted`, or the reason of `fatal`.
   */
  static async open(options: ConnectOptions, onSpoke?: () => void): Promise<Connection> {
    const started = performance.now();
    try {
      const connection = await attempt(options, onSpoke);
      const { host, port, user } = options;
      const duration = Math.round(performance.now() - started);
      record(options.transcript, { type: 'connect', host, port, user, duration });
      return new Connection(connection.client, connection.socket, options);
    } catch (error) {
      const code = error instanceof LabError ? error.code : 'unknown';
      record(options.transcript, { type: 'no-connection', code, fact: String((error as Error).message) });
      throw error;
    }
  }

  /** Says goodbye and closes; a peer that does not read any more is cut off. What is still running gets `guest/closed`. */
  async close(): Promise<void> {
    this.#die(closed(this.options));
    if (this.#socket.destroyed) return;
    await new Promise<void>((resolve) => {
      const cut = setTimeout(() => this.#socket.destroy(), this.options.timeouts.sshConnect / 15);
      this.#socket.once('close', () => {
        clearTimeout(cut);
        resolve();
      });
      this.client.end();
      this.#socket.destroySoon();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #die(reason: unknown): void {
    if (this.death.aborted) return;
    const { code, message } = reason as LabError;
    record(this.options.transcript, { type: 'close', code, fact: message });
    this.#death.abort(reason);
    if (code !== 'guest/closed') this.#socket.destroy();
  }
}

/** ssh2 takes 130 ms to load: only for those who connect, and while they wait for the guest anyway. */
export async function loadSsh(): Promise<typeof import('ssh2')> {
  return (await import('ssh2')).default as unknown as typeof import('ssh2');
}

interface Attempt {
  readonly client: Client;
  readonly socket: Socket;
}

async function attempt(options: ConnectOptions, onSpoke: (() => void) | undefined): Promise<Attempt> {
  const expected = publicBlob(options.hostKey);
  const ssh2 = await loadSsh();
  const seen: Seen = { ended: false, hostKey: undefined, firstBytes: undefined, handshake: false };
  using stop = new Stop({
    what: `connecting to the guest at ${options.host}:${options.port}`,
    timeout: options.timeouts.sshConnect,
    onTimeout: () =>
      unreachable(options, seen, `did not finish the SSH handshake within ${seconds(options)} s`),
    signal: options.signal,
    fatal: options.fatal,
  });
  const { host, port } = options;
  const socket = options.dial === undefined ? connectTcp({ host, port, noDelay: true }) : options.dial();
  if (socket === undefined) throw unreachable(options, seen, 'can be dialled only so often, and was');
  const client = new ssh2.Client();
  socket.once('end', () => {
    seen.ended = true; // before ssh2 hears of it and reports an error of the protocol
  });
  const ready = new Promise<void>((resolve, reject) => {
    client.once('ready', resolve);
    client.once('handshake', () => {
      seen.handshake = true;
    });
    client.on('error', (error: Error) => reject(classify(options, seen, expected, error)));
    client.once('close', () => reject(classify(options, seen, expected, undefined)));
    client.connect(config(options, socket, expected, seen));
    socket.once('data', (bytes: Buffer) => {
      seen.firstBytes = bytes.subarray(0, 120);
      onSpoke?.();
    });
  });
  try {
    await stop.race(ready);
    return { client, socket };
  } catch (error) {
    socket.destroy();
    throw error instanceof LabError || stop.signal.aborted ? error : badUserKey(error);
  }
}

interface Seen {
  /** The other side closed its half in good order. */
  ended: boolean;
  hostKey: Buffer | undefined;
  firstBytes: Buffer | undefined;
  handshake: boolean;
}

function config(options: ConnectOptions, socket: Socket, expected: Buffer, seen: Seen): ConnectConfig {
  return {
    sock: socket,
    username: options.user,
    privateKey: options.privateKey,
    authHandler: ['publickey'],
    algorithms: ALGORITHMS as NonNullable<ConnectConfig['algorithms']>,
    readyTimeout: 0,
    keepaliveInterval: options.keepalive ?? 0,
    hostVerifier: (key: Buffer) => {
      seen.hostKey = key;
      return key.equals(expected);
    },
  };
}

/** By what happened, never by the text: `level` is the only stable mark of ssh2's errors. */
function classify(
  options: ConnectOptions,
  seen: Seen,
  expected: Buffer,
  error: (Error & { level?: string; code?: unknown }) | undefined,
): LabError {
  if (seen.hostKey !== undefined && !seen.hostKey.equals(expected)) {
    return wrongHostKey(options, expected, seen.hostKey);
  }
  if (error?.level === 'client-authentication') return refusedUser(options);
  const disconnected = typeof error?.code === 'number';
  const wentAway = error === undefined || error.level === 'client-socket' || seen.ended || disconnected;
  if (!wentAway) return notSsh(options, seen, error);
  const how = error?.level === 'client-socket' && error.code === 'ECONNREFUSED' ? 'refused' : 'closed';
  return unreachable(options, seen, `${how} the connection before it was ready`, error);
}

function unreachable(options: ConnectOptions, seen: Seen, how: string, cause?: Error): LabError {
  const evidence = [
    seen.firstBytes === undefined
      ? 'it sent nothing'
      : `it began with ${JSON.stringify(printable(seen.firstBytes))}`,
  ];
  if (seen.handshake) evidence.push('keys were exchanged; the login was not answered');
  if (cause !== undefined) evidence.push(cause.message);
  return new LabError({
    code: 'guest/unreachable',
    blame: 'host',
    fact: `the guest's SSH server at ${options.host}:${options.port} ${how}`,
    evidence,
    next: 'look at the console: `lab console`, `lab logs`',
    cause,
  });
}

function wrongHostKey(options: ConnectOptions, expected: Buffer, actual: Buffer): LabError {
  return new LabError({
    code: 'guest/host-key',
    blame: 'host',
    fact: `${options.host}:${options.port} is not the guest that was started: it has another host key`,
    evidence: [`expected ${fingerprintOf(expected)}`, `actual   ${fingerprintOf(actual)}`],
    next: 'stop the machine and start it again; if it persists, something else listens on that port',
  });
}

function refusedUser(options: ConnectOptions): LabError {
  return new LabError({
    code: 'guest/auth',
    blame: 'host',
    fact: `the guest at ${options.host}:${options.port} does not let ${options.user} in with our key`,
    evidence: [`user ${options.user}, public key login only`],
    next: 'the image was made for another key: make it anew',
  });
}

function notSsh(options: ConnectOptions, seen: Seen, cause: Error): LabError {
  return new LabError({
    code: 'guest/protocol',
    blame: 'host',
    fact: `${options.host}:${options.port} does not speak SSH as the guest should`,
    evidence: [
      cause.message,
      `it began with ${JSON.stringify(printable(seen.firstBytes ?? Buffer.alloc(0)))}`,
    ],
    next: 'see what listens on that port, or let QEMU choose another',
    cause,
  });
}

function badUserKey(cause: unknown): LabError {
  return new LabError({
    code: 'guest/key',
    blame: 'host',
    fact: 'the private key for the guest cannot be used',
    evidence: [cause instanceof Error ? cause.message : String(cause)],
    next: 'remove the key file, and a new pair will be made',
    cause,
  });
}

function lost(options: ConnectOptions, cause: Error | undefined): LabError {
  return new LabError({
    code: 'guest/lost',
    blame: 'host',
    fact: `the SSH connection to the guest at ${options.host}:${options.port} broke`,
    evidence: cause === undefined ? [] : [cause.message],
    next: 'look at the console for a panic or a reboot: `lab logs`',
    cause,
  });
}

function closed(options: ConnectOptions): LabError {
  return new LabError({
    code: 'guest/closed',
    blame: 'host',
    fact: `the SSH connection to the guest at ${options.host}:${options.port} was closed from this side`,
    next: 'connect again',
  });
}

function printable(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/[^\x20-\x7e]/g, '.');
}

function seconds({ timeouts }: ConnectOptions): string {
  return (timeouts.sshConnect / 1000).toFixed(0);
}
