import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { backendOf } from '../../src/nbd/aligned.js';
import { Budget } from '../../src/nbd/budget.js';
import { BufferPool } from '../../src/nbd/buffers.js';
import { ByteQueue } from '../../src/nbd/byte-queue.js';
import { type AnyBlockDevice, type BlockDevice, ConnectionCut, DeviceError } from '../../src/nbd/device.js';
import { sparse } from '../../src/nbd/devices/memory.js';
import { ProtocolError } from '../../src/nbd/handshake.js';
import { Transmission } from '../../src/nbd/transmission.js';
import { type ClientRequest, cutAt, type Reply, ReplyReader, request } from '../support/nbd-client.js';

const READ = 0;
const WRITE = 1;
const FLUSH = 3;
const TRIM = 4;
const ZEROES = 6;
const STATUS = 7;

interface Session {
  readonly replies: Reply[];
  readonly sent: Buffer;
  readonly end: boolean;
  readonly cut: boolean;
}

/** Sends requests, cut at `places`, and waits for all answers. */
async function session(
  device: AnyBlockDevice,
  requests: readonly ClientRequest[],
  { structured = true, allocation = false, places = [] as readonly number[], raw = [] as Buffer[] } = {},
): Promise<Session> {
  const lengths = new Map(
    requests.map(({ command, cookie, length = 0 }) => [cookie, command === READ ? length : 0]),
  );
  const reader = new ReplyReader((cookie) => lengths.get(cookie) ?? 0);
  const input = new ByteQueue();
  const sent: Buffer[] = [];
  const seen = { cut: false, end: false };
  const write = (data: Buffer, done = () => {}) => {
    sent.push(Buffer.from(data));
    setImmediate(done);
  };
  const agreed = {
    export: { name: '', description: '', backend: backendOf(device), tellReadOnly: true },
    ...{ structured, allocation },
  };
  const shared = { budget: new Budget(1 << 26), pool: new BufferPool(1 << 22) };
  const go = () => {
    if (!seen.end && transmission.advance(input, () => true) === 'end') seen.end = true;
  };
  const onCut = () => {
    seen.cut = true;
  };
  const events = { onReady: go, onCut };
  const transmission = new Transmission(agreed, { write }, shared, events);
  for (const chunk of cutAt(Buffer.concat([...requests.map(request), ...raw]), places)) {
    input.push(chunk);
    go();
  }
  await transmission.idle();
  transmission.end();
  const replies = seen.cut ? [] : sent.flatMap((data) => reader.push(data));
  return { replies, sent: Buffer.concat(sent), ...seen };
}

const errors = async (device: AnyBlockDevice, ...requests: ClientRequest[]) =>
  (await session(device, requests)).replies.map(({ error }) => error);

describe('requests', () => {
  test('what is written is read, by either kind of reply', async () => {
    const data = Buffer.from('some bytes at an odd place');
    for (const structured of [true, false]) {
      const device = sparse(1 << 20, 512);
      const written = { command: WRITE, cookie: 1n, offset: 1001, data };
      const read = { command: READ, cookie: 2n ** 64n - 1n, offset: 1000, length: data.length + 2 };
      const first = await session(device, [written], { structured });
      expect(first.replies).toMatchObject([{ cookie: 1n, error: 0 }]);
      const { replies } = await session(device, [read], { structured });
      expect(replies).toMatchObject([{ cookie: 2n ** 64n - 1n, error: 0 }]);
      expect(replies[0]?.data.equals(Buffer.concat([Buffer.alloc(1), data, Buffer.alloc(1)]))).toBe(true);
    }
  });

  test('what lies beyond the end fails with the error that the specification names', async () => {
    const at = { offset: (1 << 20) - 512, length: 513 };
    const big = { offset: 2n ** 64n - 512n, length: 512 };
    const device = { ...plain(), trim: () => {} };
    expect(
      await errors(
        device,
        { command: READ, cookie: 1n, ...at },
        { command: WRITE, cookie: 2n, offset: at.offset, data: Buffer.alloc(513) },
        { command: ZEROES, cookie: 3n, ...at },
        { command: TRIM, cookie: 4n, ...at },
        { command: READ, cookie: 5n, ...big },
      ),
    ).toEqual([22, 28, 28, 22, 22]);
  });

  test('a device without write refuses all changes and takes the data off the stream', async () => {
    const device = { blockSize: () => 512, blocks: () => 8, read: (_: number, b: Buffer) => void b.fill(1) };
    expect(
      await errors(
        device,
        { command: WRITE, cookie: 1n, data: Buffer.alloc(300) },
        { command: ZEROES, cookie: 2n, length: 512 },
        { command: TRIM, cookie: 3n, length: 512 },
        { command: READ, cookie: 4n, length: 10 },
      ),
    ).toEqual([1, 1, 1, 0]);
  });

  test('unknown commands and flags are refused', async () => {
    expect(
      await errors(
        plain(),
        { command: 99, cookie: 1n },
        { command: 5, cookie: 2n, length: 512 },
        { command: READ, cookie: 3n, flags: 2, length: 1 },
        { command: WRITE, cookie: 4n, flags: 1 << 5, data: Buffer.alloc(9) },
        { command: WRITE, cookie: 5n, flags: 1, data: Buffer.alloc(9) }, // FUA, which was not offered
        { command: STATUS, cookie: 6n, length: 512 },
        { command: FLUSH, cookie: 7n },
        { command: READ, cookie: 8n, length: 1 },
      ),
    ).toEqual([22, 22, 22, 22, 22, 22, 22, 0]);
  });

  test('requests without length succeed', async () => {
    const zero = [READ, WRITE, TRIM, ZEROES].map((command, i) => ({ command, cookie: BigInt(i), length: 0 }));
    for (const structured of [true, false]) {
      const { replies } = await session(sparse(1024, 512), zero, { structured });
      expect(replies.map(({ error }) => error)).toEqual([0, 0, 0, 0]);
    }
  });

  test('FUA makes the write persistent before its reply', async () => {
    const log: string[] = [];
    const device = {
      ...plain(),
      write: async () => void log.push('write'),
      flush: async () => void log.push('flush'),
    };
    await errors(device, { command: WRITE, flags: 1, cookie: 1n, data: Buffer.alloc(512) });
    await errors(device, { command: WRITE, flags: 0, cookie: 1n, data: Buffer.alloc(512) });
    expect(log).toEqual(['write', 'flush', 'write']);
  });

  test('zeros are written where the device has nothing better, also over parts of blocks', async () => {
    const disk = Buffer.alloc(8192, 1);
    const device = { ...plain(disk), blockSize: () => 1024, blocks: () => 8 };
    expect(await errors(device, { command: ZEROES, cookie: 1n, offset: 100, length: 3000 })).toEqual([0]);
    expect(
      disk.equals(Buffer.concat([Buffer.alloc(100, 1), Buffer.alloc(3000), Buffer.alloc(5092, 1)])),
    ).toBe(true);
    expect(await errors(device, { command: ZEROES, flags: 1 << 4, cookie: 1n, length: 1024 })).toEqual([22]);
    const fast = { ...device, zero: () => {} };
    expect(await errors(fast, { command: ZEROES, flags: 1 << 4, cookie: 1n, length: 1024 })).toEqual([0]);
    expect(await errors(fast, { command: ZEROES, flags: 1 << 4, cookie: 1n, length: 100 })).toEqual([95]);
  });

  test('a trim keeps within its range, in whole blocks', async () => {
    const trims: number[][] = [];
    const trim = (offset: number, length: number) => void trims.push([offset, length]);
    const device = { ...plain(), blockSize: () => 4096, blocks: () => 256, trim };
    const ask = (offset: number, length: number) =>
      errors(device, { command: TRIM, cookie: 1n, offset, length });
    expect(await ask(4096, 8192)).toEqual([0]);
    expect(await ask(4000, 8192)).toEqual([0]);
    expect(await ask(4097, 4096)).toEqual([0]);
    expect(trims).toEqual([
      [4096, 8192],
      [4096, 4096],
    ]);
  });

  test('block status tells holes from data', async () => {
    const device = sparse(1 << 20, 512);
    await session(device, [{ command: WRITE, cookie: 1n, offset: 128 << 10, data: Buffer.alloc(10, 1) }]);
    const status = async (flags: number, length: number) => {
      const asked = { command: STATUS, cookie: 2n, flags, offset: 100, length };
      return (await session(device, [asked], { allocation: true })).replies[0] as Reply;
    };
    const extents = ({ data }: Reply) =>
      Array.from({ length: (data.length - 4) / 8 }, (_, i) => [
        data.readUInt32BE(4 + 8 * i),
        data.readUInt32BE(8 + 8 * i),
      ]);
    expect((await status(0, 1 << 19)).type).toBe(5);
    expect(extents(await status(0, (1 << 20) - 100))).toEqual([
      [(128 << 10) - 100, 3],
      [64 << 10, 0],
      [(1 << 20) - (192 << 10), 3],
    ]);
    expect(extents(await status(1 << 3, 1 << 19))).toEqual([[(128 << 10) - 100, 3]]);
  });
});

describe('mistakes of a device', () => {
  const throwing = (error: unknown) => ({ ...plain(), read: () => Promise.reject(error) });
  test.each([
    ['an error', new Error('broken'), 5],
    ['no error at all', 'broken', 5],
    ['an error of the protocol', new DeviceError('ENOSPC', 'full'), 28],
    ['an error of the system', Object.assign(new Error('no'), { code: 'EACCES' }), 1],
    ['an error with an odd code', Object.assign(new Error('no'), { code: 17 }), 5],
  ])('%s becomes an answer', async (_what, error, number) => {
    const one = { command: READ, cookie: 1n, length: 512 };
    expect(await errors(throwing(error), one)).toEqual([number]);
    const sync = {
      ...plain(),
      read: () => {
        throw error;
      },
    };
    expect(await errors(sync, one, { command: WRITE, cookie: 2n, data: Buffer.alloc(512) })).toEqual([
      number,
      0,
    ]);
  });

  test('the client reads why', async () => {
    const { replies } = await session(throwing(new Error('sector 7 is gone')), [
      { command: READ, cookie: 1n, length: 1 },
    ]);
    expect(replies[0]?.message).toBe('sector 7 is gone');
  });

  test('extents without length are an error', async () => {
    const device = { ...plain(), extents: () => [{ length: 0, hole: false, zero: false }] };
    const { replies } = await session(device, [{ command: STATUS, cookie: 1n, length: 512 }], {
      allocation: true,
    });
    expect(replies.map(({ error }) => error)).toEqual([5]);
  });

  test('a cut ends the connection in the middle of the answer', async () => {
    const device = { ...plain(), read: () => Promise.reject(new ConnectionCut(20)) };
    const { cut, sent } = await session(device, [{ command: READ, cookie: 1n, length: 512 }], {
      structured: false,
    });
    expect(cut).toBe(true);
    expect(sent.length).toBe(20);
  });

  test.each([
    ['a block size that is no power of 2', { blockSize: () => 1000 }],
    ['a block size of 128 KiB', { blockSize: () => 131072 }],
    ['half a block', { blocks: () => 0.5 }],
    ['more bytes than a number counts', { blocks: () => 2 ** 50 }],
    ['more than 2^63 bytes', { blocks: () => 2n ** 62n }],
  ])('%s is refused', (_what, wrong) => {
    expect(() => backendOf({ ...plain(), ...wrong } as never)).toThrowError(/does not say a size/);
  });
});

describe('the stream', () => {
  test('a wrong magic number ends it', async () => {
    await expect(session(plain(), [], { raw: [Buffer.alloc(28, 3)] })).rejects.toThrow(ProtocolError);
  });

  test('a write of more than 32 MiB ends it, a read is refused', async () => {
    const big = { cookie: 1n, length: (32 << 20) + 1 };
    const device = { ...plain(), blocks: () => 1 << 20 };
    await expect(session(device, [{ command: WRITE, ...big }])).rejects.toThrow(ProtocolError);
    expect(await errors(device, { command: READ, ...big })).toEqual([75]);
  });

  test('DISC ends it after the requests before it', async () => {
    const device = { ...plain(), read: () => new Promise<void>((resolve) => setTimeout(resolve, 5)) };
    const { end, replies } = await session(device, [
      { command: READ, cookie: 1n, length: 512 },
      { command: 2, cookie: 0n },
    ]);
    expect(end).toBe(true);
    expect(replies.map(({ cookie }) => cookie)).toEqual([1n]);
  });

  test('garbage breaks it or is answered, and nothing else', async () => {
    const anything = fc.uint8Array({ minLength: 28, maxLength: 28 }).map((bytes) => {
      const head = Buffer.from(bytes);
      head.writeUInt32BE(0x25609513, 0);
      head.writeUInt16BE(head.readUInt16BE(6) % 9, 6);
      head.writeUInt32BE(head.readUInt32BE(24) % 5000, 24);
      return head;
    });
    await fc.assert(
      fc.asyncProperty(fc.array(anything, { maxLength: 30 }), async (raw) => {
        await session(sparse(1 << 20, 512), [], { raw, allocation: true }).catch((error: unknown) => {
          expect(error).toBeInstanceOf(ProtocolError);
        });
      }),
    );
  });
});

const SIZE = 300_000;

/** Requests whose writes do not overlap, so that they may be carried out in any order. */
const operations = fc
  .array(fc.record({ length: fc.integer({ min: 1, max: 90_000 }), kind: fc.constantFrom(WRITE, ZEROES) }), {
    maxLength: 12,
  })
  .map((list) => {
    let offset = 0;
    return list.flatMap(({ length, kind }, i) => {
      const at = offset;
      offset += length;
      if (offset > SIZE) return [];
      const data = kind === WRITE ? { data: Buffer.alloc(length, i + 1) } : { length };
      return [{ command: kind, cookie: BigInt(i), offset: at, ...data }];
    });
  });

describe('any requests, any cuts, any device', () => {
  test('leave on the device what they wrote, each answered once', async () => {
    const places = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 20 });
    const device = fc.record({
      blockSize: fc.constantFrom(1, 512, 4096, 65536),
      later: fc.boolean(),
      big: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(operations, places, device, fc.boolean(), async (requests, cuts, kind, structured) => {
        const blocks = Math.ceil(SIZE / kind.blockSize);
        const disk = Buffer.alloc(blocks * kind.blockSize, 0xee);
        const expected = Buffer.from(disk);
        for (const { offset, data, length } of requests as ClientRequest[]) {
          const at = Number(offset);
          expected.fill(data ?? 0, at, at + (data?.length ?? length ?? 0));
        }
        const { replies } = await session(deviceOf(disk, kind), requests, { places: cuts, structured });
        expect(replies.map(({ cookie }) => cookie).sort()).toEqual(
          requests.map(({ cookie }) => cookie).sort(),
        );
        expect(replies.every(({ error }) => error === 0)).toBe(true);
        expect(disk.equals(expected)).toBe(true);
      }),
      { numRuns: 150 },
    );
  });
});

function deviceOf(
  disk: Buffer,
  { blockSize, later, big }: { blockSize: number; later: boolean; big: boolean },
): AnyBlockDevice {
  const soon = () => new Promise<void>((resolve) => setImmediate(resolve));
  const aligned = (offset: number, length: number) => {
    if (offset % blockSize !== 0 || length % blockSize !== 0) throw new RangeError('not aligned');
  };
  const read = (offset: number | bigint, buffer: Buffer) => {
    const at = Number(offset);
    aligned(at, buffer.length);
    disk.copy(buffer, 0, at, at + buffer.length);
  };
  const write = (offset: number | bigint, buffer: Buffer) => {
    aligned(Number(offset), buffer.length);
    buffer.copy(disk, Number(offset));
  };
  const count = disk.length / blockSize;
  const device: BlockDevice<never> = {
    blockSize: () => blockSize,
    blocks: () => (big ? BigInt(count) : count) as never,
    read: later ? (offset, buffer) => soon().then(() => read(offset, buffer)) : read,
    write: later ? (offset, buffer) => soon().then(() => write(offset, buffer)) : write,
  };
  return device as AnyBlockDevice;
}

function plain(disk = Buffer.alloc(1 << 20)) {
  return {
    blockSize: () => 512,
    blocks: () => disk.length / 512,
    read: (offset: number, buffer: Buffer): void | Promise<void> => void disk.copy(buffer, 0, offset),
    write: (offset: number, buffer: Buffer): void | Promise<void> => void buffer.copy(disk, offset),
  };
}
