import { CheckFailure, expectEqual } from '../../../lab/check.js';
import { deadbeefAt, expectData, MIB, readPart } from './data.js';
import type { DeviceCheck, Scene } from './device-check.js';
import { withClient } from './nbd-client.js';

const SIZE = 4 * MIB;

const common = { line: 'deadbeef', devices: ['deadbeef'] } as const;

/** 4 MiB in blocks of 1024 bytes, DE AD BE EF everywhere, without a write handler. */
export const deadbeefDeviceChecks: readonly DeviceCheck[] = [
  {
    ...common,
    id: 'deadbeef-size',
    title: 'deadbeef has 4 MiB in blocks of 1024 bytes',
    run: async ({ device, prove }) => {
      const [block, blocks] = [device.blockSize(), device.blocks()];
      expectEqual('the size in bytes', block * blocks, SIZE, 'blocks() counts blocks, not bytes');
      expectEqual('blockSize()', block, 1024);
      prove(`${blocks} blocks of ${block} bytes`);
    },
  },
  {
    ...common,
    id: 'deadbeef-bytes',
    title: 'every byte of deadbeef is as it has to be, also for an NBD client',
    run: readsBytes,
  },
  {
    ...common,
    id: 'deadbeef-read-only',
    title: 'deadbeef has no write handler',
    run: async ({ device, prove }) => {
      if (device.write !== undefined)
        throw new CheckFailure('deadbeef has write()', [], 'leave the method out: without it, writing fails');
      prove('there is read, and no write');
    },
  },
];

async function readsBytes(scene: Scene): Promise<void> {
  const expected = deadbeefAt(0, SIZE);
  const order = 'each block begins with DE AD BE EF, wherever the read begins';
  expectData('what is read', await readPart(scene.device, 0, SIZE), expected, 0, order);
  await withClient(scene, async ({ read }) => {
    expectData('what qemu-img reads', await read(SIZE), expected, 0, order);
  });
  scene.prove(`${SIZE} bytes DE AD BE EF …, read as they are and by qemu-img over NBD`);
}
