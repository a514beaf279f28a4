import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { BlockDevice } from '../../src/nbd/device.js';
import { ConnectionCut } from '../../src/nbd/device.js';
import { faulty, parseFaultScript } from '../../src/nbd/devices/faulty.js';
import { delayed, type LogEntry, logged, overlay } from '../../src/nbd/devices/layers.js';
import { sparse } from '../../src/nbd/devices/memory.js';

const BLOCKS = 600;
const block = fc.integer({ min: 0, max: BLOCKS - 1 });
const steps = fc.array(
  fc.record({
    kind: fc.constantFrom('write', 'zero', 'trim'),
    at: block,
    count: fc.integer({ min: 1, max: 200 }),
    byte: fc.integer({ min: 1, max: 255 }),
  }),
  { maxLength: 20 },
);

async function contents(device: BlockDevice): Promise<Buffer> {
  const all = Buffer.alloc(device.blocks() * device.blockSize(), 0x55);
  await device.read(0, all);
  return all;
}

/** Carries the steps out on a device and on plain memory, and compares both. */
async function agrees(device: BlockDevice, model: Buffer, list: readonly Step[]): Promise<void> {
  const size = device.blockSize();
  for (const { kind, at, count, byte } of list) {
    const blocks = Math.min(count, BLOCKS - at);
    const [offset, length] = [at * size, blocks * size];
    if (kind === 'write') await device.write?.(offset, Buffer.alloc(length, byte));
    else if (kind === 'zero') await device.zero?.(offset, length);
    else await device.trim?.(offset, length);
    if (kind === 'write') model.fill(byte, offset, offset + length);
    else if (device[kind as 'zero' | 'trim'] !== undefined) model.fill(0, offset, offset + length);
  }
  expect((await contents(device)).equals(model)).toBe(true);
}

type Step = typeof steps extends fc.Arbitrary<infer T> ? (T extends readonly (infer S)[] ? S : never) : never;

describe('a sparse device', () => {
  test('holds what was written and zeros elsewhere', async () => {
    await fc.assert(
      fc.asyncProperty(steps, (list) =>
        agrees(sparse(BLOCKS * 1024, 1024), Buffer.alloc(BLOCKS * 1024), list),
      ),
    );
  });

  test('says what is a hole: always zeros, and all of a device that nobody wrote to', async () => {
    const device = sparse(BLOCKS * 1024, 1024);
    expect(await device.extents?.(0, BLOCKS * 1024)).toEqual([
      { length: BLOCKS * 1024, hole: true, zero: true },
    ]);
    await fc.assert(
      fc.asyncProperty(steps, async (list) => {
        await agrees(device, await contents(device), list);
        const extents = (await device.extents?.(0, BLOCKS * 1024)) ?? [];
        const all = await contents(device);
        let at = 0;
        for (const { length, zero } of extents) {
          if (zero) expect(all.subarray(at, at + length).every((byte) => byte === 0)).toBe(true);
          at += length;
        }
        expect(at).toBe(BLOCKS * 1024);
      }),
      { numRuns: 30 },
    );
  });
});

describe('an overlay', () => {
  test('shows what was written over its base, which stays as it was', async () => {
    await fc.assert(
      fc.asyncProperty(steps, steps, async (before, after) => {
        const base = sparse(BLOCKS * 512, 512);
        const model = Buffer.alloc(BLOCKS * 512);
        await agrees(base, model, before);
        const kept = Buffer.from(model);
        await agrees(overlay(base), model, after);
        expect((await contents(base)).equals(kept)).toBe(true);
      }),
    );
  });
});

describe('a device that logs', () => {
  test('tells each operation with its place, and what went wrong', async () => {
    const entries: Omit<LogEntry, 'duration'>[] = [];
    const broken = Object.assign(sparse(4096), { flush: () => Promise.reject(new Error('no')) });
    const device = logged(broken, ({ duration, ...rest }) => {
      expect(duration).toBeGreaterThanOrEqual(0);
      entries.push(rest);
    });
    await device.read(512, Buffer.alloc(1024));
    await expect(device.flush?.()).rejects.toThrow('no');
    expect(entries).toEqual([
      { kind: 'read', offset: 512, length: 1024 },
      { kind: 'flush', offset: 0, length: 0, error: new Error('no') },
    ]);
  });

  test('can do no more than what it stands before', () => {
    const rom = { blockSize: () => 512, blocks: () => 1, read: () => {} };
    for (const device of [logged(rom, () => {}), delayed(rom, 1), faulty(rom, [])])
      expect(Object.keys(device).sort()).toEqual(['blockSize', 'blocks', 'read']);
  });
});

describe('faults by script', () => {
  const disk = () => sparse(64 * 512, 512);
  const block7 = { offset: 7 * 512, data: Buffer.alloc(512, 7) };

  test('an error at a block is there and only there', async () => {
    const device = faulty(disk(), parseFaultScript('error EIO block 7'));
    await device.read(0, Buffer.alloc(7 * 512));
    await device.read(8 * 512, Buffer.alloc(56 * 512));
    await expect(device.read(6 * 512, Buffer.alloc(1024))).rejects.toMatchObject({ code: 'EIO' });
    await expect(device.write?.(block7.offset, block7.data)).rejects.toMatchObject({ code: 'EIO' });
  });

  test('kinds, ranges and numbers of requests narrow a fault', async () => {
    const seen: number[] = [];
    const script = parseFaultScript(
      'error ENOSPC blocks 4-7 write; # a comment\n\n error EPERM requests 3-4 read',
    );
    const device = faulty(disk(), script, (_fault, _operation, request) => void seen.push(request));
    await device.read(block7.offset, Buffer.alloc(512));
    await expect(device.write?.(block7.offset, block7.data)).rejects.toMatchObject({ code: 'ENOSPC' });
    await expect(device.read(0, Buffer.alloc(512))).rejects.toMatchObject({ code: 'EPERM' });
    await device.flush?.();
    await device.read(0, Buffer.alloc(512));
    expect(seen).toEqual([2, 3]);
  });

  test('a torn write keeps its beginning and says nothing', async () => {
    const inner = disk();
    const device = faulty(inner, parseFaultScript('torn 100 write request 1'));
    await device.write?.(block7.offset, block7.data);
    const got = Buffer.alloc(512);
    await inner.read(block7.offset, got);
    expect(got.equals(Buffer.concat([Buffer.alloc(100, 7), Buffer.alloc(412)]))).toBe(true);
  });

  test('a disconnect and a short answer cut the connection', async () => {
    const device = faulty(disk(), parseFaultScript('short 30 request 1; disconnect request 2'));
    await expect(device.read(0, Buffer.alloc(512))).rejects.toEqual(new ConnectionCut(30));
    await expect(device.read(0, Buffer.alloc(512))).rejects.toEqual(new ConnectionCut(0));
  });

  test.each([
    'explode',
    'error',
    'error EBADMOOD block 1',
    'delay',
    'delay soon',
    'error EIO block',
    'torn 5 sideways',
  ])('`%s` is refused with examples', (line) => {
    expect(() => parseFaultScript(line)).toThrowError(expect.objectContaining({ code: 'nbd/fault-script' }));
  });
});
