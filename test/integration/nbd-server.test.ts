import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseAddress } from '../../src/nbd/address.js';
import type { BlockDevice } from '../../src/nbd/device.js';
import { sparse } from '../../src/nbd/devices/memory.js';
import { type ServerEvent, serve } from '../../src/nbd/server.js';
import { infoData, option, ReplyReader, request, uint } from '../support/nbd-client.js';
import { useTempFolder } from '../support/temp.js';

const temp = useTempFolder();
let count = 0;
const socketPath = () => join(temp.path, `s${++count}`);

/** A client after its handshake, that sends and reads as it is told. */
async function client(
  path: string,
): Promise<{ socket: Socket; reader: ReplyReader; lengths: Map<bigint, number> }> {
  const socket = connect(path);
  const lengths = new Map<bigint, number>();
  socket.write(Buffer.concat([uint(4, 3), option(7, infoData(''))]));
  // greeting 18, INFO 20 + 12, ACK 20
  let seen = 0;
  while (seen < 70) seen += ((await once(socket, 'data')) as [Buffer])[0].length;
  socket.pause();
  return { socket, lengths, reader: new ReplyReader((cookie) => lengths.get(cookie) ?? 0) };
}

async function withServer(
  device: BlockDevice,
  use: (path: string, events: ServerEvent[]) => Promise<void>,
  options: { handshakeTimeout?: number; stallTimeout?: number } = {},
): Promise<ServerEvent[]> {
  const path = socketPath();
  const events: ServerEvent[] = [];
  {
    const onEvent = (event: ServerEvent) => void events.push(event);
    await using _server = await serve(device, { address: { kind: 'unix', path }, onEvent, ...options });
    await use(path, events);
  }
  expect(existsSync(path)).toBe(false);
  return events;
}

const ended = (events: readonly ServerEvent[]) => events.filter(({ type }) => type === 'ended');

describe('an NBD server', () => {
  test('a good-bye unmounts, a broken connection does not, the end of the server does', async () => {
    const log: string[] = [];
    const device = Object.assign(sparse(1 << 20), { unmount: async () => void log.push('unmount') });
    await withServer(device, async (path, events) => {
      const first = await client(path);
      first.socket.end(request({ command: 2, cookie: 1n }));
      await once(first.socket.resume(), 'close');
      await expect.poll(() => log).toEqual(['unmount']);
      const second = await client(path);
      second.socket.destroy();
      await expect.poll(() => ended(events).length).toBe(2);
      log.push('broken');
    });
    expect(log).toEqual(['unmount', 'broken', 'unmount']);
  });

  test('nobody was there: there is nothing to unmount', async () => {
    const device = Object.assign(sparse(1 << 20), { unmount: () => expect.unreachable() });
    await withServer(device, async () => {});
  });

  test('requests that go on are answered before the server ends, new ones are refused', async () => {
    let finish = () => {};
    const device: BlockDevice = {
      ...{ blockSize: () => 512, blocks: () => 8 },
      read: (_, buffer) =>
        new Promise((resolve) => {
          finish = () => {
            buffer.fill(9);
            resolve();
          };
        }),
    };
    const path = socketPath();
    const server = await serve(device, { address: { kind: 'unix', path } });
    const { socket, reader, lengths } = await client(path);
    lengths.set(1n, 512);
    socket.write(request({ command: 0, cookie: 1n, length: 512 }));
    await expect.poll(() => finish.toString().includes('fill')).toBe(true);
    const closing = server.close();
    socket.write(request({ command: 0, cookie: 2n, length: 512 }));
    const replies: unknown[] = [];
    socket.resume();
    socket.on('data', (chunk: Buffer) =>
      replies.push(...reader.push(chunk).map(({ cookie, error }) => [cookie, error])),
    );
    await expect.poll(() => replies).toEqual([[2n, 108]]);
    finish();
    await closing;
    await expect
      .poll(() => replies)
      .toEqual([
        [2n, 108],
        [1n, 0],
      ]);
  });

  test('a handshake that never ends is ended', async () => {
    const events = await withServer(
      sparse(1 << 20),
      async (path) => {
        const socket = connect(path);
        await once(socket.resume(), 'close');
      },
      { handshakeTimeout: 50 },
    );
    expect(ended(events)).toMatchObject([{ graceful: false, reason: 'no agreement in time' }]);
  });

  test('who takes nothing is cut off when others need the memory that it holds', async () => {
    const size = 64 << 20;
    const events = await withServer(
      sparse(size),
      async (path) => {
        const holders = await Promise.all([client(path), client(path), client(path)]);
        for (const { socket } of holders) {
          for (let i = 0; i < 8; i += 1)
            socket.write(request({ command: 0, cookie: BigInt(i), length: 32 << 20 }));
        }
        const { socket, reader, lengths } = await client(path);
        lengths.set(1n, 1 << 20);
        socket.write(request({ command: 0, cookie: 1n, length: 1 << 20 }));
        socket.resume();
        const got = new Promise((resolve) => {
          socket.on('data', (chunk: Buffer) => {
            for (const reply of reader.push(chunk)) resolve(reply.error);
          });
        });
        expect(await got).toBe(0);
        for (const one of [...holders, { socket }]) one.socket.destroy();
      },
      { stallTimeout: 100 },
    );
    const slow = ended(events).filter((event) => 'reason' in event && event.reason?.includes('took no data'));
    expect(slow.length).toBeGreaterThan(0);
  });

  test('10,000 clients come and go, garbage among them, and nothing is left of them', async () => {
    const descriptors = () => readdirSync('/proc/self/fd').length;
    const before = descriptors();
    const events = await withServer(sparse(1 << 20), async (path, seen) => {
      const garbage = [
        Buffer.alloc(0),
        Buffer.alloc(3),
        Buffer.alloc(64, 0xff),
        Buffer.concat([uint(4, 3), Buffer.alloc(16, 1)]),
        Buffer.concat([uint(4, 3), option(7).fill(0xff, 12, 16)]),
        Buffer.concat([uint(4, 3), option(3)]),
        Buffer.concat([uint(4, 3), option(7, infoData('')), Buffer.alloc(28, 7)]),
        Buffer.concat([
          uint(4, 3),
          option(7, infoData('')),
          request({ command: 0, cookie: 1n, length: 4096 }),
        ]),
        Buffer.concat([
          uint(4, 3),
          option(7, infoData('')),
          request({ command: 1, cookie: 1n, length: 1 << 20 }),
        ]),
        Buffer.concat([uint(4, 3), option(7, infoData('')), request({ command: 2, cookie: 1n })]),
      ];
      const visit = async (i: number) => {
        const socket = connect(path);
        socket.on('error', () => {});
        socket.write(garbage[i % garbage.length] as Buffer);
        await once(socket, 'data');
        if (i % 3 === 0) socket.destroy();
        else socket.resume().end();
        if (!socket.closed) await once(socket, 'close');
      };
      for (let i = 0; i < 10_000; i += 50)
        await Promise.all(Array.from({ length: 50 }, (_, k) => visit(i + k)));
      await expect.poll(() => ended(seen).length, { timeout: 10_000 }).toBe(10_000);
      const { socket, reader, lengths } = await client(path);
      lengths.set(5n, 512);
      socket.write(request({ command: 0, cookie: 5n, length: 512 }));
      const [chunk] = (await once(socket.resume(), 'data')) as [Buffer];
      expect(reader.push(chunk)).toMatchObject([{ cookie: 5n, error: 0 }]);
      socket.destroy();
    });
    expect(events.some(({ type }) => type === 'device-failed')).toBe(false);
    await expect.poll(() => descriptors()).toBeLessThanOrEqual(before);
  }, 120_000);

  test('the memory of a server is bounded, whatever a client asks for that never reads', async () => {
    const path = socketPath();
    const program = join(temp.path, 'server.ts');
    const library = join(import.meta.dirname, '../../src/nbd');
    await writeFile(
      program,
      [
        `import { serve } from '${library}/server.ts';`,
        'const device = { blockSize: () => 512, blocks: () => 2 ** 30, read: (_: number, b: Buffer) => void b.fill(1), write: () => {} };',
        `await serve(device, { address: { kind: 'unix', path: '${path}' } });`,
        "console.log('ready');",
      ].join('\n'),
    );
    const bundle = join(temp.path, 'server.mjs');
    const { build } = await import('esbuild');
    await build({ entryPoints: [program], bundle: true, platform: 'node', format: 'esm', outfile: bundle });
    const child = spawn(process.execPath, [bundle], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await once(child.stdout, 'data');
      const clients = await Promise.all([client(path), client(path)]);
      for (const { socket } of clients) {
        socket.on('error', () => {});
        for (let i = 0; i < 2000; i += 1) {
          const length = [32 << 20, 4096, 1 << 20, 64 << 10][i % 4] as number;
          socket.write(request({ command: 0, cookie: BigInt(i), length }));
        }
      }
      let most = 0;
      for (let last = -1; most !== last; ) {
        last = most;
        await new Promise((resolve) => setTimeout(resolve, 300));
        most = Math.max(most, await residentPeak(child.pid as number));
      }
      expect(most).toBeGreaterThan(64 << 20); // it did take what it may
      expect(most).toBeLessThan(150 << 20);
      for (const { socket } of clients) socket.destroy();
    } finally {
      child.kill('SIGKILL');
    }
  }, 60_000);

  test('a socket that a killed server left is taken over, one that is in use is not', async () => {
    const path = socketPath();
    const child = spawn(process.execPath, [
      '-e',
      `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
    ]);
    await once(child, 'exit');
    expect(existsSync(path)).toBe(true);
    await using _server = await serve(sparse(512), { address: { kind: 'unix', path } });
    const again = serve(sparse(512), { address: { kind: 'unix', path } });
    await expect(again).rejects.toMatchObject({ code: 'nbd/listen' });
    expect(existsSync(path)).toBe(true);
  });

  test('it listens where other hosts get to only when told to', async () => {
    const address = parseAddress('0.0.0.0:0');
    await expect(serve(sparse(512), { address })).rejects.toMatchObject({ code: 'nbd/remote' });
    await using server = await serve(sparse(512), { address, allowRemote: true });
    expect(server.uri()).toMatch(/^nbd:\/\/0\.0\.0\.0:\d{2,5}\/$/);
  });

  test('a port in use is said', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as { port: number };
    const address = { kind: 'tcp', host: '127.0.0.1', port } as const;
    await expect(serve(sparse(512), { address })).rejects.toMatchObject({ code: 'nbd/listen' });
    other.close();
  });
});

/** Bytes: the most that was resident so far. */
async function residentPeak(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}
