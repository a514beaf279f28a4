import type { Operation } from './operation.js';
import { PLACES, RAM } from './places.js';
import type { Random } from './random.js';

const ADDRESS = 0x20n;
const SIZE = 0x28n;
const TAIL = 0x2cn;
const CONTROL = 0x1cn;

const DESCRIPTOR = 16;

/**
 * A ring of descriptors put into memory, offered and started: most often a good one, so that the device works, with
 * some descriptors that are not, and at times one that is all wrong.
 *
 * @param base address of the device's registers.
 * @param own those of all devices, at which descriptors may point.
 */
export function* ring(random: Random, base: bigint, own: readonly bigint[]): Generator<Operation> {
  const size = random.percent(80)
    ? 1 << random.below(9)
    : random.pick([0, 3, 257, 512, 2 ** 31, 2 ** 32 - 1]);
  const count = Math.min(random.between(1, random.percent(10) ? 256 : 12), Math.max(1, size));
  const at = random.percent(80) ? inMemory(random) : addressOf(random, own);
  const write = (offset: bigint, value: bigint, bytes: 4 | 8 = 4): Operation => {
    return { kind: 'write', size: bytes, address: base + offset, value };
  };
  const data = Buffer.concat(Array.from({ length: count }, () => descriptor(random, own)));
  if (at + BigInt(data.length) <= RAM) yield { kind: 'fill', address: at, data };
  if (random.percent(85)) yield write(CONTROL, 0n);
  yield write(ADDRESS, at, 8);
  yield write(SIZE, BigInt(size));
  if (random.percent(50)) yield write(0x18n, BigInt(random.below(4)));
  yield write(CONTROL, 1n);
  const tail = random.weighted([
    [8, count],
    [2, size],
    [1, size + 1],
    [1, random.word()],
  ]);
  yield write(TAIL, BigInt(tail % 2 ** 32));
  yield* meanwhile(random, base, write);
}

/** What a driver does while the device works, and what it should not do. */
function* meanwhile(
  random: Random,
  base: bigint,
  write: (offset: bigint, value: bigint) => Operation,
): Generator<Operation> {
  if (random.percent(70)) yield { kind: 'wait' };
  if (random.percent(50)) yield { kind: 'read', size: 4, address: base + 0x30n };
  if (random.percent(30)) yield write(0x14n, 3n);
  if (random.percent(20)) yield write(CONTROL, 0n);
  if (random.percent(10)) yield write(SIZE, BigInt(random.word()));
  if (random.percent(20)) yield { kind: 'wait' };
}

function descriptor(random: Random, own: readonly bigint[]): Buffer {
  const bytes = Buffer.alloc(DESCRIPTOR);
  bytes.writeBigUInt64LE(random.percent(70) ? inMemory(random) : addressOf(random, own), 0);
  bytes.writeUInt32LE(lengthOf(random), 8);
  bytes.writeUInt32LE(random.percent(90) ? 0 : random.word(), 12);
  return bytes;
}

/** Small ones are common: they are quick, and the device gets to the next descriptor. */
function lengthOf(random: Random): number {
  return random.weighted([
    [40, 4 * random.between(1, 64)],
    [15, 4096],
    [4, 65536],
    [1, 0x100000],
    [5, 0],
    [5, 3],
    [5, 0x100000 + 4],
    [3, 0xffffffff],
    [3, 0xfffffffc],
    [3, 0x80000000],
    [3, random.word()],
  ]);
}

function inMemory(random: Random): bigint {
  return BigInt(random.below(Number(RAM) / DESCRIPTOR)) * BigInt(DESCRIPTOR);
}

/** An address of 64 bits at which a device should not be surprised: any border, any other device, or nothing at all. */
export function addressOf(random: Random, own: readonly bigint[]): bigint {
  const places: readonly bigint[] = [
    ...own.flatMap((base) => [base, base + CONTROL, base + TAIL, base + 0xff0n]),
    ...Object.values(PLACES),
    ...[RAM - 16n, RAM - 8n, RAM - 4n, RAM - 0x1000n, RAM],
    ...[0x100000000n, 1n << 40n, 1n << 63n, 2n ** 64n - 4096n, 2n ** 64n - 16n, 2n ** 64n - 4n],
    ...[random.long(), inMemory(random)],
  ];
  const place = random.pick(places as [bigint, ...bigint[]]);
  const aside = random.weighted([
    [6, 0n],
    [1, 1n],
    [1, 3n],
    [1, 4n],
    [1, 8n],
  ]);
  return BigInt.asUintN(64, place + aside);
}
