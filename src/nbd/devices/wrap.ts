import type { BlockDevice, Extent, MaybePromise } from '../device.js';

/** What a device is asked to do, for whoever stands before it. */
export interface Operation {
  readonly kind: 'read' | 'write' | 'flush' | 'trim' | 'zero' | 'extents' | 'unmount';
  /** Bytes. 0 for those that concern the whole device. */
  readonly offset: number;
  readonly length: number;
  /** What is read to, or written. */
  readonly buffer?: Buffer;
}

/**
 * A device before which `around` stands: it gets each operation and a function that carries it out. What the device
 * cannot do, the result cannot do either.
 */
export function wrap(
  device: BlockDevice,
  around: (operation: Operation, carryOut: () => MaybePromise<void>) => MaybePromise<void>,
): BlockDevice {
  const { write, flush, trim, zero, extents, unmount } = device;
  const whole = { offset: 0, length: 0 };
  return {
    blockSize: () => device.blockSize(),
    blocks: () => device.blocks(),
    read: (offset, buffer) =>
      around({ kind: 'read', offset, length: buffer.length, buffer }, () => device.read(offset, buffer)),
    ...(write === undefined
      ? {}
      : {
          write: (offset: number, buffer: Buffer) =>
            around({ kind: 'write', offset, length: buffer.length, buffer }, () =>
              write.call(device, offset, buffer),
            ),
        }),
    ...(flush === undefined
      ? {}
      : { flush: () => around({ kind: 'flush', ...whole }, () => flush.call(device)) }),
    ...(trim === undefined
      ? {}
      : {
          trim: (offset: number, length: number) =>
            around({ kind: 'trim', offset, length }, () => trim.call(device, offset, length)),
        }),
    ...(zero === undefined
      ? {}
      : {
          zero: (offset: number, length: number) =>
            around({ kind: 'zero', offset, length }, () => zero.call(device, offset, length)),
        }),
    ...(extents === undefined
      ? {}
      : {
          extents: async (offset: number, length: number) => {
            let found: readonly Extent[] = [];
            await around({ kind: 'extents', offset, length }, async () => {
              found = await extents.call(device, offset, length);
            });
            return found;
          },
        }),
    ...(unmount === undefined
      ? {}
      : { unmount: () => around({ kind: 'unmount', ...whole }, () => unmount.call(device)) }),
  };
}
