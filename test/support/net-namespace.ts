import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll } from 'vitest';

/** Addresses of the wire between the host of the tests and the world outside. */
export const wire = { host: '192.0.2.1', outside: '192.0.2.2', port: 7000 } as const;

const PATH = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;

/** A network of our own: what happens in it does not reach the network of this host. */
export interface NetNamespace {
  /** Command that runs what follows it inside. */
  readonly enter: () => readonly string[];
  /** Runs a command inside; its output. */
  readonly run: (...command: string[]) => string;
  /** Whether the world outside, which knows the way, can connect to an address and port inside. */
  readonly reached: (address: string, port: number) => boolean;
  /** All that a machine with a tap device changes: devices and addresses, nft rules, forwarding. */
  readonly snapshot: () => string;
}

/** Why no such network can be made here; undefined when it can. `lab doctor --fix` installs the programs. */
export function namespaceProblem(): string | undefined {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    return '/dev/net/tun cannot be opened';
  }
  const [program = '', ...args] = unshare('true');
  if (spawnSync(program, args).status !== 0) return 'no network namespace can be made';
  const absent = ['ip', 'nft', 'nsenter', 'setpriv', 'ssh', 'scp'].find(
    (tool) => spawnSync('sh', ['-c', `command -v ${tool}`], { env: { ...process.env, PATH } }).status !== 0,
  );
  return absent === undefined ? undefined : `${absent} is not installed`;
}

/**
 * Two networks for the tests of one file: a "host", and behind a wire the world outside, where a server answers each
 * connection with the address that it sees.
 */
export function useNetNamespace(): NetNamespace {
  const processes: ChildProcess[] = [];
  let inside: readonly string[] = [];
  let beyond: readonly string[] = [];
  const run = (...command: string[]) => output([...inside, ...command]);
  beforeAll(async () => {
    const host = await holder(unshare());
    processes.push(host);
    inside = into(host);
    const outside = await holder([...inside, 'unshare', '--net']);
    processes.push(outside);
    connect(run, outside);
    beyond = into(outside);
    processes.push(await started([...beyond, process.execPath, '-e', SERVER]));
  });
  afterAll(() => {
    for (const child of processes.toReversed()) child.kill('SIGKILL');
  });
  const snapshot = () =>
    [
      run('ip', '-br', 'address').replaceAll(/@if\d+/g, ''),
      run('nft', 'list', 'ruleset'),
      run('cat', '/proc/sys/net/ipv4/ip_forward'),
    ].join('\n');
  const reached = (address: string, port: number) =>
    output([...beyond, process.execPath, '-e', CLIENT, address, String(port)]) === 'connected\n';
  return { enter: () => inside, run, reached, snapshot };
}

const SERVER = `require('node:net').createServer((s) => { s.on('error', () => {}); s.end(s.remoteAddress + '\\n'); })
  .listen(${wire.port}, '${wire.outside}', () => console.log('ready'));`;

const CLIENT = `const [address, port] = process.argv.slice(1);
const socket = require('node:net').connect(Number(port), address);
const end = (text) => { console.log(text); process.exit(); };
socket.on('connect', () => end('connected')).on('error', () => end('refused'));
setTimeout(() => end('silence'), 2000);`;

/** Who is not root makes a user namespace first, in which he is. */
function unshare(...command: string[]): string[] {
  const user = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  return ['unshare', ...user, '--net', ...command];
}

/** A process that keeps its namespaces alive. */
async function holder(prefix: readonly string[]): Promise<ChildProcess> {
  return await started([...prefix, 'sh', '-c', 'ip link set lo up && echo ready && exec sleep infinity']);
}

function into({ pid }: ChildProcess): string[] {
  const user = process.getuid?.() === 0 ? [] : ['--user', '--preserve-credentials'];
  return ['nsenter', '--target', String(pid), ...user, '--net', '--'];
}

function connect(run: NetNamespace['run'], outside: ChildProcess): void {
  const far = into(outside);
  run('ip', 'link', 'add', 'wire0', 'type', 'veth', 'peer', 'name', 'wire1', 'netns', String(outside.pid));
  run('ip', 'address', 'add', `${wire.host}/24`, 'dev', 'wire0');
  run('ip', 'link', 'set', 'wire0', 'up');
  output([...far, 'ip', 'address', 'add', `${wire.outside}/24`, 'dev', 'wire1']);
  output([...far, 'ip', 'link', 'set', 'wire1', 'up']);
  output([...far, 'ip', 'route', 'add', 'default', 'via', wire.host]);
}

/** Starts a command and waits for its first line. */
async function started([program = '', ...args]: readonly string[]): Promise<ChildProcess> {
  const child = spawn(program, args, {
    env: { ...process.env, PATH },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout });
  await new Promise<void>((resolve, reject) => {
    lines.once('line', () => resolve());
    child.once('close', (code) => reject(new Error(`${program} ended with ${code}`)));
  });
  return child;
}

function output([program = '', ...args]: readonly string[]): string {
  return execFileSync(program, args, { env: { ...process.env, PATH }, encoding: 'utf8' });
}
