import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import ssh2, { type Connection, type ServerChannel, type Session } from 'ssh2';
import { type KeyPair, makeKeyPair } from '../../src/guest/keys.js';

export interface SshServerOptions {
  /** The only key let in. */
  readonly userKey: KeyPair;
  readonly hostKey?: KeyPair;
  /** Default: one that the system chooses. */
  readonly port?: number;
  /** Environment of the commands; default that of this process. */
  readonly env?: NodeJS.ProcessEnv;
  /** Sessions allowed at once on a connection, as `MaxSessions` of sshd. */
  readonly maxSessions?: number;
}

/** An SSH server on loopback that runs real commands with /bin/sh, each in a process group of its own. */
export interface SshServer extends AsyncDisposable {
  readonly port: number;
  readonly hostKey: KeyPair;
  /** Commands received so far. */
  readonly commands: readonly string[];
  /** Most sessions that were open at once. */
  readonly peak: number;
  /** Cuts every connection, as a guest does that dies. */
  cut(): void;
}

export async function startSshServer(options: SshServerOptions): Promise<SshServer> {
  const hostKey = options.hostKey ?? makeKeyPair('test host');
  const state: State = {
    options,
    connections: new Set(),
    children: new Set(),
    commands: [],
    open: 0,
    peak: 0,
  };
  const server = new ssh2.Server({ hostKeys: [hostKey.privateKey] }, (client) => serve(client, state));
  server.listen(options.port ?? 0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    for (const connection of state.connections) socketOf(connection).destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    hostKey,
    commands: state.commands,
    get peak() {
      return state.peak;
    },
    cut,
    async [Symbol.asyncDispose]() {
      cut();
      for (const child of state.children) killGroup(child, 'SIGKILL');
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

interface State {
  readonly options: SshServerOptions;
  readonly connections: Set<Connection>;
  readonly children: Set<ChildProcess>;
  readonly commands: string[];
  open: number;
  peak: number;
}

function serve(client: Connection, state: State): void {
  state.connections.add(client);
  socketOf(client).setNoDelay(true); // as sshd does
  client.on('error', () => {}); // a client that hangs up in the middle is what the tests are about
  client.on('close', () => state.connections.delete(client));
  const allowed = ssh2.utils.parseKey(state.options.userKey.publicKey);
  if (allowed instanceof Error) throw allowed;
  client.on('authentication', (context) => {
    const known = context.method === 'publickey' && context.key.data.equals(allowed.getPublicSSH());
    if (!known) return context.reject(['publickey']);
    if (context.signature === undefined || context.blob === undefined) return context.accept();
    if (allowed.verify(context.blob, context.signature, context.hashAlgo) === true) context.accept();
    else context.reject();
  });
  client.on('session', (accept, reject) => {
    if (state.open >= (state.options.maxSessions ?? Number.POSITIVE_INFINITY)) return reject();
    state.open += 1;
    state.peak = Math.max(state.peak, state.open);
    const session = accept();
    session.on('close', () => {
      state.open -= 1;
    });
    handle(session, state);
  });
}

function handle(session: Session, state: State): void {
  const env: NodeJS.ProcessEnv = { ...(state.options.env ?? process.env) };
  let child: ChildProcess | undefined;
  session.on('pty', (accept, _reject, { rows, cols }) => {
    Object.assign(env, { LINES: String(rows), COLUMNS: String(cols) });
    accept();
  });
  session.on('window-change', (_accept, _reject, { rows, cols }) => {
    child?.stdin?.write(`resized ${rows} ${cols}\n`);
  });
  session.on('exec', (accept, _reject, { command }) => {
    state.commands.push(command);
    child = join(accept(), ['-c', command], env, state);
  });
  session.on('shell', (accept) => {
    child = join(accept(), [], env, state);
  });
}

function join(channel: ServerChannel, args: string[], env: NodeJS.ProcessEnv, state: State): ChildProcess {
  const child = spawn('/bin/sh', args, { detached: true, env, stdio: 'pipe' });
  state.children.add(child);
  channel.on('error', () => {});
  child.stdin.on('error', () => {}); // the command may end without reading its input
  channel.pipe(child.stdin);
  child.stdout.pipe(channel, { end: false });
  child.stderr.pipe(channel.stderr, { end: false });
  child.on('exit', (code, signal) => {
    if (signal !== null) channel.exit(signal.replace(/^SIG/, ''), false, '');
    else channel.exit(code ?? 255);
  });
  child.on('close', () => {
    state.children.delete(child);
    channel.end();
  });
  channel.on('close', () => {
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy(); // and no signal: as sshd does
  });
  return child;
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, signal);
  } catch {
    // it has ended already
  }
}

/** ssh2 has no public way to cut a connection without a goodbye, nor to set TCP_NODELAY on a server's. */
function socketOf(connection: Connection): Socket {
  return (connection as unknown as { _sock: Socket })._sock;
}
