import { Duplex, type Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import type { BlockDevice } from '../../src/nbd/device.js';
import { RamDisk } from '../../src/nbd/examples/ramdisk.js';
import { remoteDevice } from '../../src/nbd/remote/far.js';
import { encodeFrame, type Frame, FrameReader, Kind } from '../../src/nbd/remote/frames.js';
import { answerFor } from '../../src/nbd/remote/near.js';

/** Two ends of a pipe that hands on so many bytes at a time. */
function pipe(piece: number): [Duplex, Duplex] {
  const make = (other: () => Duplex) =>
    new Duplex({
      read: () => {},
      write: (chunk: Buffer, _encoding, done) => {
        for (let at = 0; at < chunk.length; at += piece) other().push(chunk.subarray(at, at + piece));
        done();
      },
      final: (done) => {
        other().push(null);
        done();
      },
    });
  const near: Duplex = make(() => far);
  const far: Duplex = make(() => near);
  return [near, far];
}

const limits = { start: 5000, patience: 5000 };

describe('frames', () => {
  test.each([1, 7, 24, 25, 1000])('are the same when they come in pieces of %i bytes', (piece) => {
    const sent: Frame[] = [
      {
        id: 1,
        kind: Kind.write,
        failed: false,
        offset: 2 ** 40 + 512,
        length: 5,
        payload: Buffer.from('12345'),
      },
      { id: 2 ** 32 - 1, kind: Kind.flush, failed: true, offset: 0, length: 0, payload: Buffer.alloc(0) },
      { id: 3, kind: Kind.read, failed: false, offset: 0, length: 4096, payload: Buffer.alloc(300, 'x') },
    ];
    const bytes = Buffer.concat(sent.flatMap((frame) => encodeFrame(frame)));
    const reader = new FrameReader(300);
    const seen: Frame[] = [];
    for (let at = 0; at < bytes.length; at += piece)
      seen.push(...reader.push(bytes.subarray(at, at + piece)));
    expect(seen).toEqual(sent);
  });

  test('a payload that is too long is refused before it comes', () => {
    const [header = Buffer.alloc(0)] = encodeFrame({ id: 1, kind: Kind.write, payload: Buffer.alloc(301) });
    expect(() => [...new FrameReader(300).push(header)]).toThrow(RangeError);
  });
});

describe('a device at the other end', () => {
  test('is the same device, whatever order its answers come in', async () => {
    const [near, far] = pipe(11);
    const disk = new RamDisk(4096);
    await answerFor(near, async () => disk);
    const device = await remoteDevice(far, limits);
    expect([device.blockSize(), device.blocks(), device.unmount]).toEqual([512, 8, undefined]);
    const writes = [3, 1, 2].map((block) => device.write?.(block * 512, Buffer.alloc(512, block)));
    await Promise.all(writes);
    const all = Buffer.alloc(2048);
    await device.read(0, all);
    expect([0, 1, 2, 3].map((block) => all[block * 512])).toEqual([0, 1, 2, 3]);
    await device.zero?.(512, 512);
    await device.trim?.(1024, 512);
    await device.flush?.();
    await device.read(0, all);
    expect([0, 1, 2, 3].map((block) => all[block * 512])).toEqual([0, 0, 0, 3]);
  });

  test('errors keep their code, as far as the protocol has it', async () => {
    const [near, far] = pipe(1000);
    const codes = ['ENOSPC', 'EWHATEVER'];
    const failing: BlockDevice = {
      blockSize: () => 512,
      blocks: () => 1,
      read: () => {
        throw Object.assign(new Error('no\nreason'), { code: codes.shift() });
      },
    };
    await answerFor(near, async () => failing);
    const device = await remoteDevice(far, limits);
    const read = async () => await device.read(0, Buffer.alloc(512));
    await expect(read()).rejects.toMatchObject({ code: 'ENOSPC', message: 'no\nreason' });
    await expect(read()).rejects.toMatchObject({ code: 'EIO' });
  });

  test('that cannot be loaded, or counts as a pipe cannot, says why', async () => {
    const loads = [
      async () => {
        throw new Error('not today');
      },
      async () => ({ ...new RamDisk(512), blockSize: () => 512, blocks: () => 1n }) as unknown as BlockDevice,
    ];
    for (const load of loads) {
      const [near, far] = pipe(1000);
      await answerFor(near, load);
      await expect(remoteDevice(far, limits)).rejects.toThrow(/not today|has to return a number/);
    }
  });

  test.each([
    ['{}', /no device/],
    ['nonsense', /JSON/],
    ['{"blockSize":512,"blocks":"8","has":[]}', /no device/],
  ])('%s is no device', async (text, reason) => {
    const [near, far] = pipe(1000);
    say(near, { id: 0, kind: Kind.hello, payload: Buffer.from(text) });
    await expect(remoteDevice(far, limits)).rejects.toThrow(reason);
  });

  test.each<[string, Parameters<typeof encodeFrame>[0]]>([
    ['a question nobody asked', { id: 7, kind: Kind.read, payload: Buffer.alloc(512) }],
    ['another question', { id: 1, kind: Kind.write }],
    ['half of a block', { id: 1, kind: Kind.read, payload: Buffer.alloc(256) }],
    ['an endless message', { id: 1, kind: Kind.read, failed: true, payload: Buffer.alloc(5000) }],
  ])('an answer to %s ends it', async (_name, frame) => {
    const [near, far] = pipe(1000);
    const reasons: string[] = [];
    const hello = JSON.stringify({ blockSize: 512, blocks: 8, has: ['flush'] });
    say(near, { id: 0, kind: Kind.hello, payload: Buffer.from(hello) });
    const device = await remoteDevice(far, { ...limits, onLost: ({ reason }) => reasons.push(reason) });
    near.once('data', () => say(near, frame));
    const reading = Promise.resolve(device.read(0, Buffer.alloc(512)));
    await expect(reading).rejects.toMatchObject({ code: 'EIO' });
    await expect(Promise.resolve(device.flush?.())).rejects.toMatchObject({ code: 'EIO' });
    expect([reasons.length, far.destroyed]).toEqual([1, true]);
  });
});

function say(stream: Writable, frame: Parameters<typeof encodeFrame>[0]): void {
  for (const part of encodeFrame(frame)) stream.write(part);
}
