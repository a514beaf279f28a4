import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { requireSandbox } from '../../src/sandbox/probe.js';
import { scaled } from '../../src/timeouts.js';
import { inJail, makeTree, outside, processesWith } from '../support/jails.js';
import { useTempFolder } from '../support/temp.js';

/** Each probe is run outside as well, where it has to notice what must not be noticed inside. */
const folder = useTempFolder();
let tree = '';

beforeAll(async () => {
  tree = await makeTree(join(folder.path, 'tree'));
});

test('this host can confine code', async () => {
  await requireSandbox({ signal: new AbortController().signal, timeouts: scaled(3) });
});

test('files of the host do not exist', async () => {
  const secret = join(folder.path, 'secret');
  await writeFile(secret, 'secret words');
  const look = `cat '${secret}'; for f in /etc/passwd /etc/hostname /proc/cmdline "${process.env.HOME}" /sys /run; do [ ! -s "$f" ] || echo "seen $f"; done`;
  expect((await outside(look)).stdout).toMatch(/^secret wordsseen \/etc\/passwd/);
  const inside = await inJail(tree, `${look}; cat /tree/build/old`);
  expect(inside.stdout).toBe('from the seed\n');
});

test('nothing of our environment is seen, not even that of the first process', async () => {
  process.env.LAB_TEST_SECRET = 'xyzzy-secret';
  try {
    const look = 'env; cat /proc/self/environ /proc/[0-9]*/environ 2>/dev/null | tr "\\0" "\\n"';
    expect((await outside(look)).stdout).toContain('xyzzy-secret');
    const { stdout } = await inJail(tree, look, { env: { MEANT: 'yes' } });
    expect(stdout).toContain('MEANT=yes');
    expect(stdout).not.toContain('xyzzy');
    expect(stdout).not.toContain(process.cwd());
  } finally {
    delete process.env.LAB_TEST_SECRET;
  }
});

const servers: Server[] = [];
afterAll(() => {
  for (const server of servers) server.close();
});

test('no listener of the host is reached: TCP, unix socket, abstract socket', async () => {
  const listen = async (where: string | number) => {
    const server = createServer((socket) => socket.end('hello'));
    servers.push(server);
    if (typeof where === 'number') server.listen(where, '127.0.0.1');
    else server.listen(where);
    await once(server, 'listening');
    return server.address();
  };
  const port = (await listen(0)) as { port: number };
  const path = join(folder.path, 's');
  await listen(path);
  const name = `lab-test-${process.pid}`;
  await listen(`\0${name}`);
  const dial = python(`
import socket
def dial(family, address):
    try:
        s = socket.socket(family); s.settimeout(5); s.connect(address); print(s.recv(9).decode())
    except OSError: print('refused')
dial(socket.AF_INET, ('127.0.0.1', ${port.port}))
dial(socket.AF_UNIX, '${path}')
dial(socket.AF_UNIX, b'\\0${name}' + b'\\0' * (107 - ${name.length}))
dial(socket.AF_UNIX, b'\\0${name}')`);
  // Node pads abstract names or it does not, by its version: one of the two forms is right
  expect((await outside(dial)).stdout.match(/hello/g)?.length).toBe(3);
  expect((await inJail(tree, dial)).stdout).toBe('refused\n'.repeat(4));
});

test('no sockets of families that a network namespace does not separate', async () => {
  const open = python(`
import socket
for family, kind in ((1, 1), (2, 1), (10, 1), (40, 1), (38, 5)):
    try: socket.socket(family, kind); print(family)
    except OSError as e: print(family, e.errno)`);
  const control = (await outside(open)).stdout.split('\n');
  expect(control).toContain('2');
  const inside = (await inJail(tree, open)).stdout.split('\n');
  expect(inside).toEqual(['1', '2', '10', '40 97', '38 97', '']);
});

test('no process of the host is seen or killed', async () => {
  const marker = `witness-${process.pid}`;
  const witness = spawn('/bin/sh', ['-c', 'sleep 300; :', marker], { detached: true, stdio: 'ignore' });
  try {
    await once(witness, 'spawn');
    const look = 'cat /proc/[0-9]*/cmdline | tr "\\0" "\\n"';
    expect((await outside(look)).stdout).toContain(marker);
    expect((await inJail(tree, look)).stdout).not.toContain(marker);
    await inJail(tree, 'kill -9 -1');
    await inJail(
      tree,
      python(`
import os
for pid in range(2, 70000):
    try: os.kill(pid, 9) if pid not in (os.getpid(), os.getppid()) else None
    except OSError: pass`),
    );
    expect(processesWith(marker).length).toBeGreaterThan(0);
    expect(witness.exitCode ?? witness.signalCode).toBeNull();
  } finally {
    process.kill(-(witness.pid ?? 0), 'SIGKILL');
  }
});

test('system calls that lead out or deep into the kernel are refused', async () => {
  const calls = python(`
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    ctypes.set_errno(0); libc.syscall(*args); print(name, ctypes.get_errno())
call('keyctl', 250, 0, -3, 0, 0, 0)
call('ptrace', 101, 0, 0, 0, 0)
call('unshare', 272, 0)
call('io_uring', 425, 1, 0)
call('shmget', 29, 0, 4096, 0o1600)`);
  const control = (await outside(calls)).stdout;
  expect(control).toContain('ptrace 0');
  expect(control).toContain('unshare 0');
  const inside = (await inJail(tree, calls)).stdout;
  expect(inside).toBe('keyctl 1\nptrace 1\nunshare 1\nio_uring 38\nshmget 1\n');
});

test('no privileges, none to be gained, no further namespaces', async () => {
  const own =
    'grep -E "^(Cap|NoNewPrivs|Seccomp:)" /proc/self/status; unshare --user --map-root-user id -u 2>&1';
  expect((await outside('unshare --user --map-root-user grep CapEff /proc/self/status')).stdout).not.toMatch(
    /CapEff:\s0+$/m,
  );
  const { stdout } = await inJail(tree, own);
  expect(stdout.match(/^Cap\w+:\s0{16}$/gm)).toHaveLength(5);
  expect(stdout).toMatch(/^NoNewPrivs:\s1$/m);
  expect(stdout).toMatch(/^Seccomp:\s2$/m);
  expect(stdout).not.toMatch(/^0$/m);
});

test('settings of the kernel are not there, and nothing but the tree and /tmp can be written', async () => {
  const before = readFileSync('/proc/sys/kernel/core_pattern', 'utf8');
  const write =
    'for f in /proc/sys/kernel/core_pattern /proc/sys/x /sys/x /usr/x /etc/x /x /dev/x; do ( echo "|/x" > $f ) 2>/dev/null && echo "wrote $f"; done';
  const inside = await inJail(
    tree,
    `${write}; for f in /tmp /dev/shm /tree/build; do echo x > $f/x && echo "wrote $f"; done`,
  );
  expect(inside.stdout).toBe('wrote /tmp\nwrote /dev/shm\nwrote /tree/build\n');
  expect(readFileSync('/proc/sys/kernel/core_pattern', 'utf8')).toBe(before);
});

test('a session of its own, so that no terminal can be typed into', async () => {
  const look = 'cut -d" " -f6 /proc/self/stat';
  const shared = `bwrap --unshare-user --unshare-pid --ro-bind / / --proc /proc ${look.replace('" "', '\\" \\"')}`;
  expect((await outside(`sh -c "${shared}"`)).stdout.trim()).toBe('0'); // its session lies outside
  expect(Number((await inJail(tree, look)).stdout)).toBeGreaterThan(0);
});

function python(script: string): string {
  return `python3 - <<'END'\n${script}\nEND`;
}
