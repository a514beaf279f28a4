import { BareRng, type DEVICE_IDS } from '../../src/labs/my-rng/grading/bare-rng.js';
import type { BareMachine } from '../../src/machine/bare.js';
import { enable, readConfig, writeConfig } from '../../src/qtest/pci.js';

export const RNG64 = 0x08;
export const FEATURES = 0x10;
export const IRQ_STATUS = 0x14;
export const IRQ_ENABLE = 0x18;
export const CONTROL = 0x1c;
export const RING_ADDRESS = 0x20;
export const RING_SIZE = 0x28;
export const RING_TAIL = 0x2c;
export const RING_HEAD = 0x30;

export const COMPLETION = 1;
export const RING_ERROR = 2;

export const DONE = 1;
export const BAD_LENGTH = 2;
export const BUS_ERROR = 3;

export interface Order {
  readonly address: number | bigint;
  readonly length: number;
}

/** Where the tests put the ring, and buffers from there on. */
export const RING = 0x100000;
export const BUFFER = 0x200000;

/** The extended device on a bare machine, as a driver without a guest. */
export class ExtendedRng {
  readonly rng: BareRng;
  readonly #machine: BareMachine;
  readonly #id: string;

  static async map(machine: BareMachine, id: (typeof DEVICE_IDS)[number] = 'rng0'): Promise<ExtendedRng> {
    const rng = await BareRng.map(machine, id);
    await enable(machine.qtest, rng.pci, { memory: true, busMaster: true });
    return new ExtendedRng(machine, rng, id);
  }

  private constructor(machine: BareMachine, rng: BareRng, id: string) {
    this.#machine = machine;
    this.#id = id;
    this.rng = rng;
  }

  read(offset: number): Promise<number> {
    return this.rng.read(offset);
  }

  write(offset: number, value: number): Promise<void> {
    return this.rng.write(offset, 4, value);
  }

  /** What a counter of the device says. */
  async counter(property: string): Promise<unknown> {
    return await this.#machine.monitor.execute('qom-get', {
      path: `/machine/peripheral/${this.#id}`,
      property,
    });
  }

  /** Starts a ring of `size` descriptors at `address`. */
  async start(size: number, address: number | bigint = RING): Promise<void> {
    await this.rng.write(RING_ADDRESS, 8, address);
    await this.write(RING_SIZE, size);
    await this.write(CONTROL, 1);
  }

  /** Writes descriptors into the ring, which has `size`, from the free-running count `from` on; rings no bell. */
  async put(size: number, from: number, orders: readonly Order[]): Promise<void> {
    for (const [index, { address, length }] of orders.entries()) {
      const bytes = Buffer.alloc(16);
      bytes.writeBigUInt64LE(BigInt(address), 0);
      bytes.writeUInt32LE(length, 8);
      await this.#machine.qtest.memwrite(RING + 16 * ((from + index) % size), bytes);
    }
  }

  /** Offers all up to the free-running count `tail` and waits until they are completed. */
  async complete(tail: number): Promise<void> {
    await this.write(RING_TAIL, tail);
    await this.reaches(async () => (await this.read(RING_HEAD)) === tail, `RING_HEAD ${tail}`);
  }

  /** Asks again and again: each question is answered only after QEMU's main loop had its turn. */
  async reaches(condition: () => Promise<boolean>, what: string): Promise<void> {
    for (let tries = 0; tries < 20_000; tries += 1) if (await condition()) return;
    throw new Error(`the device never reached ${what}`);
  }

  /** The status in the descriptor at an index of the ring. */
  status(index: number): Promise<number> {
    return this.#machine.qtest.readl(RING + 16 * index + 12);
  }

  /** The numbers in memory. */
  async numbers(address: number | bigint, count: number): Promise<number[]> {
    const bytes = await this.#machine.qtest.memread(address, 4 * count);
    return Array.from({ length: count }, (_, i) => bytes.readUInt32LE(4 * i));
  }

  config(offset: number, size: 1 | 2 | 4): Promise<number> {
    return readConfig(this.#machine.qtest, this.rng.pci, offset, size);
  }

  setConfig(offset: number, size: 1 | 2 | 4, value: number): Promise<void> {
    return writeConfig(this.#machine.qtest, this.rng.pci, offset, size, value);
  }
}
