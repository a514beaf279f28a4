import { isAbort } from '../../../errors.js';
import { CheckFailure } from '../../../lab/check.js';
import type { BareMachine } from '../../../machine/bare.js';
import { findPciDevice, flattenPci, type PciDevice } from '../../../monitor/parse.js';
import { type Bar, enable, programBar, sizeBar, sizeBars } from '../../../qtest/pci.js';
import type { QTest } from '../../../qtest/qtest.js';

export const RNG = 0x0;
export const SEED = 0x4;

export type AccessSize = 1 | 2 | 4 | 8;

/** QEMU ended, hung or broke off while something was being done to the device under test. */
export class DeviceDied extends Error {
  override readonly name = 'DeviceDied';
  /** What was being done, as part of a sentence. */
  readonly during: string;

  constructor(during: string, cause: unknown) {
    super(`QEMU did not survive ${during}`, { cause });
    this.during = during;
  }
}

/** Gives what `action` gives; when that fails, the error names what was being done. */
export async function during<T>(what: string, action: Promise<T>): Promise<T> {
  try {
    return await action;
  } catch (error) {
    const known = error instanceof CheckFailure || error instanceof DeviceDied || isAbort(error);
    throw known ? error : new DeviceDied(what, error);
  }
}

/** First addresses of the mapped devices: in the PCI hole of the `pc` machine, far apart. */
const WINDOWS = [0xe0000000n, 0xf0000000n] as const;

/** The device under test on a bare machine, its registers mapped. */
export class BareRng {
  readonly pci: PciDevice;
  /** The BAR that its registers are in. */
  readonly bar: Bar;
  readonly #qtest: QTest;
  readonly #base: bigint;

  /**
   * Maps the registers of the device with this id: BAR 0, or the first memory BAR of a device that has them elsewhere.
   *
   * @throws CheckFailure when there is no such PCI device or it has no memory.
   */
  static async map(machine: BareMachine, id: string): Promise<BareRng> {
    const { qtest } = machine;
    const pci = await locate(machine, id);
    const first = await during('the sizing of BAR 0', sizeBar(qtest, pci, 0));
    const usable = (bar: Bar | undefined) => bar?.type === 'memory' && bar.size <= 0x10000000n;
    const bars = usable(first) ? [] : await during('the sizing of its BARs', sizeBars(qtest, pci));
    const bar = usable(first) ? first : bars.find(usable);
    if (bar === undefined) throw new CheckFailure('the device has no memory BAR, so it has no registers');
    const base = WINDOWS[flat(id)] ?? WINDOWS[0];
    await during('the mapping of its BAR', programBar(qtest, pci, bar, base));
    await enable(qtest, pci, { memory: true });
    return new BareRng(qtest, pci, bar, base);
  }

  private constructor(qtest: QTest, pci: PciDevice, bar: Bar, base: bigint) {
    this.#qtest = qtest;
    this.pci = pci;
    this.bar = bar;
    this.#base = base;
  }

  /** The first `count` numbers after `seed`. */
  async sequence(seed: number, count: number): Promise<number[]> {
    await this.seed(seed);
    return await this.numbers(count);
  }

  seed(value: number): Promise<void> {
    return this.write(SEED, 4, value);
  }

  /**
   * The next `count` numbers. One access at a time: were many in flight, the death of QEMU could take the answers to
   * earlier ones with it, and the wrong access would be blamed.
   */
  async numbers(count: number): Promise<number[]> {
    const numbers: number[] = [];
    while (numbers.length < count) numbers.push(await this.read(RNG));
    return numbers;
  }

  async read(offset: number): Promise<number> {
    return Number(await this.readSized(offset, 4));
  }

  readSized(offset: number, size: AccessSize): Promise<bigint> {
    const at = this.#base + BigInt(offset);
    const { readb, readw, readl, readq } = this.#qtest;
    const reply = size === 8 ? readq(at) : (size === 1 ? readb : size === 2 ? readw : readl)(at).then(BigInt);
    return during(`a ${size}-byte read at offset ${hex(offset)}`, reply);
  }

  write(offset: number, size: AccessSize, value: number | bigint): Promise<void> {
    const at = this.#base + BigInt(offset);
    const { writeb, writew, writel, writeq } = this.#qtest;
    const write = { 1: writeb, 2: writew, 4: writel, 8: writeq }[size];
    return during(`a ${size}-byte write of ${hex(value)} at offset ${hex(offset)}`, write(at, value));
  }
}

/** The ids that the devices of a bare lane have, in order. */
export const DEVICE_IDS = ['rng0', 'rng1'] as const;

export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

/** The first numbers of a sequence, for people. */
export function shown(numbers: readonly number[], count = 5): string {
  return `${numbers.slice(0, count).join(', ')}${numbers.length > count ? ', …' : ''}`;
}

export function equal(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}

function flat(id: string): number {
  return Math.max(0, DEVICE_IDS.indexOf(id as (typeof DEVICE_IDS)[number]));
}

async function locate(machine: BareMachine, id: string): Promise<PciDevice> {
  const buses = await during('the look at its PCI bus', machine.monitor.execute('query-pci'));
  const found = flattenPci(buses).find((device) => device.id === id) ?? findPciDevice(buses, 0x1234, 0xcafe);
  if (found !== undefined) return found;
  throw new CheckFailure(
    'the device is not on the PCI bus',
    ['query-pci does not list it'],
    'its type must have the parent TYPE_PCI_DEVICE',
  );
}
