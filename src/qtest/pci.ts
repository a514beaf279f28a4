import { LabError } from '../errors.js';
import type { QTest } from './qtest.js';

/** Where a PCI function sits on the bus. */
export interface PciAddress {
  readonly bus: number;
  readonly slot: number;
  readonly function: number;
}

export interface PciIdentity extends PciAddress {
  readonly vendor: number;
  readonly device: number;
  readonly revision: number;
  /** Base class and subclass, e.g. 0x00ff. */
  readonly classCode: number;
}

export interface Bar {
  readonly index: number;
  readonly type: 'io' | 'memory';
  /** Bytes; a power of two. */
  readonly size: bigint;
  readonly prefetch: boolean;
  /** Takes two slots and addresses of 64 bits. */
  readonly wide: boolean;
}

type Size = 1 | 2 | 4;

const CONFIG_ADDRESS = 0xcf8;
const CONFIG_DATA = 0xcfc;
const COMMAND = 0x04;
const BAR0 = 0x10;
const ALL_ONES = 0xffffffff;

/** Reads configuration space by mechanism 1 (PCI Local Bus 3.0, 3.2.2.3.2), as the `pc` machine has it. */
export async function readConfig(qtest: QTest, at: PciAddress, offset: number, size: Size): Promise<number> {
  const port = dataPort(offset, size);
  const read = size === 1 ? qtest.inb : size === 2 ? qtest.inw : qtest.inl;
  const [, value] = await Promise.all([select(qtest, at, offset), read(port)]);
  return value;
}

export async function writeConfig(
  qtest: QTest,
  at: PciAddress,
  offset: number,
  size: Size,
  value: number,
): Promise<void> {
  const port = dataPort(offset, size);
  const write = size === 1 ? qtest.outb : size === 2 ? qtest.outw : qtest.outl;
  await Promise.all([select(qtest, at, offset), write(port, value)]);
}

/** All functions on one bus; bus 0 needs no bridge to be set up. */
export async function listFunctions(qtest: QTest, bus = 0): Promise<PciIdentity[]> {
  const found: PciIdentity[] = [];
  for (let slot = 0; slot < 32; slot += 1) {
    const first = await identify(qtest, { bus, slot, function: 0 });
    if (first === undefined) continue;
    found.push(first);
    const multifunction = (await readConfig(qtest, first, 0x0e, 1)) & 0x80;
    for (let n = 1; multifunction !== 0 && n < 8; n += 1) {
      const next = await identify(qtest, { bus, slot, function: n });
      if (next !== undefined) found.push(next);
    }
  }
  return found;
}

/** The first function on bus 0 with these ids. */
export async function findDevice(
  qtest: QTest,
  vendor: number,
  device: number,
): Promise<PciIdentity | undefined> {
  const all = await listFunctions(qtest);
  return all.find((candidate) => candidate.vendor === vendor && candidate.device === device);
}

/** The six BARs of a type 0 header, by writing ones; each register gets its old value back. */
export async function sizeBars(qtest: QTest, at: PciAddress): Promise<Bar[]> {
  const bars: Bar[] = [];
  for (let index = 0; index < 6; index += 1) {
    const bar = await sizeBar(qtest, at, index);
    if (bar === undefined) continue;
    bars.push(bar);
    if (bar.wide) index += 1;
  }
  return bars;
}

/** One BAR, or `undefined` when the register is not implemented. Decoding is off while it is probed. */
export async function sizeBar(qtest: QTest, at: PciAddress, index: number): Promise<Bar | undefined> {
  const command = await readConfig(qtest, at, COMMAND, 2);
  await writeConfig(qtest, at, COMMAND, 2, command & ~3);
  try {
    const flags = await readConfig(qtest, at, BAR0 + 4 * index, 4);
    const wide = (flags & 7) === 4;
    const low = await probe(qtest, at, index);
    const high = wide ? await probe(qtest, at, index + 1) : ALL_ONES;
    if (low === 0) return undefined;
    const io = (flags & 1) === 1;
    const mask = (BigInt(high) << 32n) | BigInt((low & (io ? ~3 : ~15)) >>> 0);
    return {
      index,
      type: io ? 'io' : 'memory',
      size: (~mask & 0xffffffffffffffffn) + 1n,
      prefetch: !io && (flags & 8) !== 0,
      wide,
    };
  } finally {
    await writeConfig(qtest, at, COMMAND, 2, command);
  }
}

/**
 * Gives a BAR its address and gives back what the register then holds, without its flags.
 *
 * @throws LabError `qtest/argument` for an address that is not a multiple of the size or does not fit.
 */
export async function programBar(qtest: QTest, at: PciAddress, bar: Bar, address: bigint): Promise<bigint> {
  if (address % bar.size !== 0n || address < 0n || (!bar.wide && address + bar.size > 1n << 32n)) {
    throw new LabError({
      code: 'qtest/argument',
      blame: 'user',
      fact: `BAR ${bar.index} of ${bar.size} bytes cannot be at address ${address}`,
      next: 'choose an aligned address below 4 GiB',
    });
  }
  const register = BAR0 + 4 * bar.index;
  await writeConfig(qtest, at, register, 4, Number(address & 0xffffffffn));
  if (bar.wide) await writeConfig(qtest, at, register + 4, 4, Number(address >> 32n));
  const low = (await readConfig(qtest, at, register, 4)) & (bar.type === 'io' ? ~3 : ~15);
  const high = bar.wide ? await readConfig(qtest, at, register + 4, 4) : 0;
  return (BigInt(high) << 32n) | BigInt(low >>> 0);
}

/** Turns decoding and bus mastering on or off; what is not named stays as it is. */
export async function enable(
  qtest: QTest,
  at: PciAddress,
  wanted: { readonly io?: boolean; readonly memory?: boolean; readonly busMaster?: boolean },
): Promise<void> {
  let command = await readConfig(qtest, at, COMMAND, 2);
  for (const [bit, on] of [
    [1, wanted.io],
    [2, wanted.memory],
    [4, wanted.busMaster],
  ] as const) {
    if (on !== undefined) command = on ? command | bit : command & ~bit;
  }
  await writeConfig(qtest, at, COMMAND, 2, command);
}

async function identify(qtest: QTest, at: PciAddress): Promise<PciIdentity | undefined> {
  const ids = await readConfig(qtest, at, 0x00, 4);
  if (ids === ALL_ONES) return undefined;
  const kind = await readConfig(qtest, at, 0x08, 4);
  return { ...at, vendor: ids & 0xffff, device: ids >>> 16, revision: kind & 0xff, classCode: kind >>> 16 };
}

async function probe(qtest: QTest, at: PciAddress, index: number): Promise<number> {
  const register = BAR0 + 4 * index;
  const before = await readConfig(qtest, at, register, 4);
  await writeConfig(qtest, at, register, 4, ALL_ONES);
  const mask = await readConfig(qtest, at, register, 4);
  await writeConfig(qtest, at, register, 4, before);
  return mask;
}

/** The two accesses of one transfer are queued together, so that concurrent callers cannot come between them. */
function select(qtest: QTest, at: PciAddress, offset: number): Promise<void> {
  const address = (at.bus << 16) | (at.slot << 11) | (at.function << 8) | (offset & 0xfc);
  return qtest.outl(CONFIG_ADDRESS, (0x80000000 | address) >>> 0);
}

function dataPort(offset: number, size: Size): number {
  if (!Number.isInteger(offset) || offset < 0 || offset > 0xff || offset % size !== 0) {
    throw new LabError({
      code: 'qtest/argument',
      blame: 'user',
      fact: `configuration space has no ${size} bytes at offset ${offset}`,
      next: 'use an aligned offset below 256',
    });
  }
  return CONFIG_DATA + (offset & 3);
}
