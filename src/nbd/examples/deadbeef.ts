import type { BlockDevice } from '../vblk.js';

/** 4 MiB of DE AD BE EF that nobody can change. */
export class DeadBeef implements BlockDevice {
  blockSize(): number {
    return 1024;
  }

  blocks(): number {
    return 4096;
  }

  read(_offset: number, buffer: Buffer): void {
    buffer.fill('deadbeef', 'hex');
  }
}
