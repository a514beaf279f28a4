import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LabError } from '../../src/errors.js';
import { connectWhenReady, Guest } from '../../src/guest/guest.js';
import { makeKeyPair } from '../../src/guest/keys.js';
import type { GuestEvent } from '../../src/guest/transcript.js';
import { scaled } from '../../src/timeouts.js';
import { type SshServer, startSshServer } from '../support/ssh-server.js';

const userKey = makeKeyPair('user');
const hostKey = makeKeyPair('host');
const timeouts = scaled(1);
const hasty = { ...timeouts, sshConnect: 600 };
let server: SshServer;
beforeEach(async () => {
  server = await startSshServer({ userKey, hostKey });
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
});

function options(port = server.port) {
  return {
    host: '127.0.0.1',
    port,
    user: 'root',
    privateKey: userKey.privateKey,
    hostKey: hostKey.publicKey,
    timeouts,
  };
}

/** A TCP server that treats every connection in the same way. */
async function listener(onConnection: (socket: Socket) => void): Promise<AsyncDisposable & { port: number }> {
  const sockets = new Set<Socket>();
  const tcp: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    onConnection(socket);
  });
  tcp.listen(0, '127.0.0.1');
  await once(tcp, 'listening');
  return {
    port: (tcp.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => tcp.close(() => resolve()));
    },
  };
}

async function freePort(): Promise<number> {
  await using tcp = await listener(() => {});
  return tcp.port;
}

describe('connect', () => {
  test('logs in and records it', async () => {
    const events: GuestEvent[] = [];
    await using guest = await Guest.connect({ ...options(), transcript: (event) => events.push(event) });
    expect(guest.death.aborted).toBe(false);
    expect(events).toMatchObject([{ type: 'connect', user: 'root', port: server.port }]);
    await guest.close();
    expect(events.at(-1)).toMatchObject({ type: 'close', code: 'guest/closed' });
    expect(JSON.parse(JSON.stringify(events))).toEqual(events);
  });

  test('another host key is refused before the login, with both fingerprints', async () => {
    const other = makeKeyPair('other');
    const error = await Guest.connect({ ...options(), hostKey: other.publicKey }).catch((e) => e);
    expect(error).toMatchObject({ code: 'guest/host-key', blame: 'host' });
    expect(error.evidence.join('\n')).toContain(other.fingerprint);
    expect(error.evidence.join('\n')).toContain(hostKey.fingerprint);
  });

  test('another user key', async () => {
    const privateKey = makeKeyPair('stranger').privateKey;
    await expect(Guest.connect({ ...options(), privateKey })).rejects.toMatchObject({ code: 'guest/auth' });
  });

  test.each(['', 'junk', userKey.publicKey])('no private key: %j', async (privateKey) => {
    await expect(Guest.connect({ ...options(), privateKey })).rejects.toMatchObject({
      code: expect.stringMatching(/^guest\/(key|auth)$/),
    });
  });

  test('nobody listens', async () => {
    await expect(Guest.connect(options(await freePort()))).rejects.toMatchObject({
      code: 'guest/unreachable',
    });
  });

  test('accepts and stays silent', async () => {
    await using silent = await listener(() => {});
    const attempt = Guest.connect({ ...options(silent.port), timeouts: hasty });
    await expect(attempt).rejects.toMatchObject({ code: 'guest/unreachable', evidence: ['it sent nothing'] });
  });

  test.each([
    ['closes at once', (socket: Socket) => socket.end()],
    ['resets at once', (socket: Socket) => socket.resetAndDestroy()],
    ['closes after its greeting', (socket: Socket) => socket.end('SSH-2.0-OpenSSH_9.6\r\n')],
    ['is full', (socket: Socket) => socket.end('Exceeded MaxStartups\r\n')],
  ])('%s', async (_what, onConnection) => {
    await using tcp = await listener(onConnection);
    await expect(Guest.connect(options(tcp.port))).rejects.toMatchObject({ code: 'guest/unreachable' });
  });

  test.each([
    ['noise after a greeting', Buffer.concat([Buffer.from('SSH-2.0-x\r\n'), Buffer.alloc(4096, 0xff)])],
    ['the first version of the protocol', Buffer.from('SSH-1.5-x\r\n')],
    ['no line end', Buffer.alloc(64 * 1024, 0x41)],
  ])('garbage: %s', async (_what, garbage) => {
    await using tcp = await listener((socket) => socket.write(garbage));
    const attempt = Guest.connect({ ...options(tcp.port), timeouts: hasty });
    await expect(attempt).rejects.toMatchObject({ code: 'guest/protocol' });
  });

  test('an abort ends it', async () => {
    await using silent = await listener(() => {});
    const stop = new AbortController();
    const attempt = Guest.connect({ ...options(silent.port), signal: stop.signal });
    stop.abort();
    await expect(attempt).rejects.toMatchObject({ code: 'interrupted' });
  });

  test('the reason of `fatal` ends it, and what runs later', async () => {
    const panic = new LabError({ code: 'console/panic', blame: 'submission', fact: 'panic', next: 'look' });
    let reject: (reason: unknown) => void = () => {};
    const fatal = new Promise<never>((_, no) => {
      reject = no;
    });
    await using guest = await Guest.connect({ ...options(), fatal });
    const running = guest.exec('sleep 100');
    reject(panic);
    await expect(running).rejects.toBe(panic);
    await expect(guest.exec('true')).rejects.toBe(panic);
    await expect(Guest.connect({ ...options(), fatal })).rejects.toBe(panic);
  });
});

describe('connectWhenReady', () => {
  test('waits for the sign before it tries', async () => {
    let connections = 0;
    await using tcp = await listener((socket) => {
      connections += 1;
      socket.end();
    });
    let say: () => void = () => {};
    const ready = new Promise<void>((resolve) => {
      say = resolve;
    });
    const stop = new AbortController();
    const waiting = connectWhenReady({ ...options(tcp.port), ready, signal: stop.signal });
    await new Promise(setImmediate);
    expect(connections).toBe(0);
    say();
    await expect.poll(() => connections).toBeGreaterThan(1);
    stop.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'interrupted' });
  });

  test.each([
    ['the sign came', () => Promise.resolve()],
    ['no sign is known', () => undefined],
    ['the sign was lost', () => new Promise<void>(() => {})],
    ['the sign failed', () => Promise.reject(new Error('console closed'))],
  ])('a guest that comes up late: %s', async (_what, sign) => {
    const ready = sign();
    const port = await freePort();
    const waiting = connectWhenReady({ ...options(port), timeouts: hasty, ready, deadline: 20_000 });
    const tried = Guest.connect(options(port));
    await expect(tried).rejects.toMatchObject({ code: 'guest/unreachable' });
    await using late = await startSshServer({ userKey, hostKey, port });
    await using guest = await waiting;
    expect((await guest.exec('echo $((6 * 7))')).stdout).toBe('42\n');
    expect(late.commands).toHaveLength(1);
  });

  test('a silent attempt is overtaken', async () => {
    let connections = 0;
    await using tcp = await listener((socket) => {
      connections += 1;
      if (connections < 3) return;
      const inner = connect(server.port, '127.0.0.1');
      inner.on('error', () => {});
      inner.pipe(socket).pipe(inner);
    });
    await using guest = await connectWhenReady({ ...options(tcp.port), ready: Promise.resolve() });
    expect((await guest.exec('echo through')).stdout).toBe('through\n');
    expect(connections).toBe(3);
  });

  test('wrong keys end it at the first attempt', async () => {
    const ready = Promise.resolve();
    const privateKey = makeKeyPair('stranger').privateKey;
    await expect(connectWhenReady({ ...options(), ready, privateKey })).rejects.toMatchObject({
      code: 'guest/auth',
    });
    const other = makeKeyPair('other').publicKey;
    await expect(connectWhenReady({ ...options(), ready, hostKey: other })).rejects.toMatchObject({
      code: 'guest/host-key',
    });
  });

  test('a panic ends it with that reason', async () => {
    const panic = new LabError({ code: 'console/panic', blame: 'submission', fact: 'panic', next: 'look' });
    await using silent = await listener(() => {});
    for (const ready of [Promise.resolve(), new Promise<void>(() => {})]) {
      const waiting = connectWhenReady({ ...options(silent.port), ready, fatal: Promise.reject(panic) });
      await expect(waiting).rejects.toBe(panic);
    }
  });

  test('the deadline tells of the last attempt', async () => {
    await using closing = await listener((socket) => socket.end('go away\r\n'));
    const waiting = connectWhenReady({ ...options(closing.port), ready: Promise.resolve(), deadline: 300 });
    const error = await waiting.catch((e) => e);
    expect(error).toMatchObject({ code: 'guest/not-ready', blame: 'host' });
    expect(error.evidence.join('\n')).toContain('go away');
  });
});
