import type { BlockDevice } from '../vblk.js';

/** A disk in memory: what is written is kept for as long as the server runs. */
export class RamDisk implements BlockDevice {
  readonly #memory: Buffer;

  /** @param bytes a multiple of 512. */
  constructor(bytes = 32 * 1024 * 1024) {
    this.#memory = Buffer.alloc(bytes);
  }

  blockSize(): number {
    return 512;
  }

  blocks(): number {
    return this.#memory.length / 512;
  }

  read(offset: number, buffer: Buffer): void {
    this.#memory.copy(buffer, 0, offset, offset + buffer.length);
  }

  write(offset: number, buffer: Buffer): void {
    buffer.copy(this.#memory, offset);
  }

  /** Memory is all the stable storage that there is. */
  flush(): void {}

  trim(offset: number, length: number): void {
    this.#memory.fill(0, offset, offset + length);
  }

  zero(offset: number, length: number): void {
    this.#memory.fill(0, offset, offset + length);
  }
}
