import type { BlockDevice } from '../../nbd/device.js';
import { wrap } from '../../nbd/devices/wrap.js';

/** The devices that the checks look at; each call makes one anew. */
export interface VblkSetup {
  /** 4 MiB of DE AD BE EF in blocks of 1024 bytes, without a write handler. */
  readonly deadbeef: () => BlockDevice;
  /** 32 MiB that keep what is written, with flush and trim. */
  readonly ramdisk: () => BlockDevice;
}

/** The same device, with `called` for each time that it is unmounted. */
export function onUnmount(device: BlockDevice, called: () => void): BlockDevice {
  const same = wrap(device, (_operation, carryOut) => carryOut());
  return {
    ...same,
    unmount: async () => {
      called();
      await device.unmount?.();
    },
  };
}

/** The same bytes in larger blocks. */
export function inBlocksOf(blockSize: number, device: BlockDevice): BlockDevice {
  const same = wrap(device, (_operation, carryOut) => carryOut());
  const blocks = (device.blocks() * device.blockSize()) / blockSize;
  return { ...same, blockSize: () => blockSize, blocks: () => blocks };
}

/** Reads or writes that touch the byte at `offset` wait until `opened`; the others do not. */
export function gated(device: BlockDevice, offset: number, opened: Promise<unknown>): BlockDevice {
  return wrap(device, async (operation, carryOut) => {
    const { kind, offset: from, length } = operation;
    const touched = kind === 'read' && from <= offset && offset < from + length;
    if (touched) await opened;
    await carryOut();
  });
}

/** What the device holds, read by the host itself. */
export async function contents(device: BlockDevice, offset: number, length: number): Promise<Buffer> {
  const data = Buffer.alloc(length);
  await device.read(offset, data);
  return data;
}
