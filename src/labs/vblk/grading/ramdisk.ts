import { CheckFailure } from '../../../lab/check.js';
import type { BlockDevice } from '../../../nbd/device.js';
import { bytesOf, expectData, MIB, numbersOf, readPart } from './data.js';
import type { DeviceCheck, Scene } from './device-check.js';
import { withClient } from './nbd-client.js';

const LEAST = 4 * MIB;

const common = { line: 'ramdisk', devices: ['ramdisk'] } as const;

/** At least 4 MiB that keep what is written; flush, trim, zero and unmount are right where they are there. */
export const ramdiskDeviceChecks: readonly DeviceCheck[] = [
  {
    ...common,
    id: 'ramdisk-size',
    title: 'the ramdisk has at least 4 MiB, and a write handler',
    run: async ({ device, prove }) => {
      const size = sizeOf(device);
      if (size < LEAST) throw new CheckFailure(`the ramdisk has ${size} bytes, fewer than ${LEAST}`);
      if (device.write === undefined) throw new CheckFailure('the ramdisk has no write()');
      prove(`${size} bytes in blocks of ${device.blockSize()}`);
    },
  },
  {
    ...common,
    id: 'ramdisk-data',
    title: 'what is written anywhere is kept, and no other byte changes',
    run: keepsData,
  },
  {
    ...common,
    id: 'ramdisk-client',
    title: 'an NBD client writes and reads back 4 MiB',
    run: async (scene) => {
      const data = bytesOf(scene.nonce, 'client', LEAST);
      await withClient(scene, async ({ read, write }) => {
        await write(data);
        expectData('what qemu-img reads back', await read(LEAST), data, 0);
      });
      scene.prove(`${LEAST} random bytes written and read back by qemu-img over NBD`);
    },
  },
  {
    ...common,
    id: 'ramdisk-flush',
    title: 'flush and unmount succeed, where they are there, and nothing is lost',
    run: flushes,
  },
  {
    ...common,
    id: 'ramdisk-trim',
    title: 'trim and zero, where they are there, keep to their range, and zero gives zeros',
    run: trims,
  },
];

function sizeOf(device: BlockDevice): number {
  return device.blockSize() * device.blocks();
}

async function writeTo({ device }: Scene, offset: number, data: Buffer): Promise<void> {
  if (device.write === undefined) throw new CheckFailure('the ramdisk has no write()');
  await device.write(offset, Buffer.from(data));
}

/** Random writes at both ends of the device, against a model of it. */
async function keepsData(scene: Scene): Promise<void> {
  const { device, nonce, prove } = scene;
  const block = device.blockSize();
  const ends = [
    { from: 0, length: Math.min(LEAST, sizeOf(device)) },
    { from: Math.max(0, sizeOf(device) - MIB), length: Math.min(MIB, sizeOf(device)) },
  ];
  for (const { from, length } of ends) {
    const model = await readPart(device, from, length);
    const blocks = length / block;
    const starts = [0, blocks - 1, ...numbersOf(nonce, `starts ${from}`, 60, blocks)];
    const lengths = numbersOf(nonce, `lengths ${from}`, starts.length, 16).map((n) => n + 1);
    for (const [i, start] of starts.entries()) {
      const count = Math.min(lengths[i] ?? 1, blocks - start);
      const data = bytesOf(nonce, `data ${from} ${i}`, count * block);
      const at = from + start * block;
      await writeTo(scene, at, data);
      data.copy(model, start * block);
      expectData('what was just written', await readPart(device, at, data.length), data, at);
    }
    const hint = 'keep buffer at offset, all of it, and nothing elsewhere';
    expectData('the device after all writes', await readPart(device, from, length), model, from, hint);
    prove(`${starts.length} writes into ${length} bytes from ${from} on: each byte is as expected`);
  }
}

async function flushes(scene: Scene): Promise<void> {
  const { device, nonce, prove } = scene;
  const data = bytesOf(nonce, 'flush', MIB);
  await writeTo(scene, 0, data);
  await device.flush?.();
  expectData('the device after flush', await readPart(device, 0, MIB), data, 0);
  await device.unmount?.();
  expectData('the device after unmount', await readPart(device, 0, MIB), data, 0);
  const has = (['flush', 'unmount'] as const).filter((name) => device[name] !== undefined);
  prove(`1 MiB is kept after ${has.join(' and ') || 'it was written; neither flush nor unmount is there'}`);
}

/** In blocks; both stand among others that are kept. */
const RANGES = { trim: { at: 16, count: 16 }, zero: { at: 40, count: 9 } };

async function trims(scene: Scene): Promise<void> {
  const { device, nonce, prove } = scene;
  const block = device.blockSize();
  const data = bytesOf(nonce, 'trim', 64 * block);
  await writeTo(scene, 0, data);
  for (const kind of ['trim', 'zero'] as const) {
    const [from, length] = [RANGES[kind].at * block, RANGES[kind].count * block];
    await device[kind]?.(from, length);
    const now = await readPart(device, 0, data.length);
    const hint = `${kind}(offset, length): both are in bytes`;
    expectData(
      `what stands before the range of ${kind}`,
      now.subarray(0, from),
      data.subarray(0, from),
      0,
      hint,
    );
    const end = from + length;
    expectData(`what stands after the range of ${kind}`, now.subarray(end), data.subarray(end), end, hint);
    if (kind === 'zero' && device.zero !== undefined)
      expectData('what zero leaves', now.subarray(from, end), Buffer.alloc(length), from);
    const again = bytesOf(nonce, `again ${kind}`, length);
    await writeTo(scene, from, again);
    again.copy(data, from);
    expectData(`what is written after ${kind}`, await readPart(device, from, length), again, from);
    prove(
      device[kind] === undefined
        ? `it has no ${kind}`
        : `${kind} of ${length} bytes at ${from} keeps to them`,
    );
  }
}
