import { LabError } from '../errors.js';
import type { AnyBlockDevice, BlockDevice, Extent, MaybePromise } from './device.js';

/**
 * A device as the server sees it: offsets are numbers or bigints as the device has them, in bytes, of any alignment.
 * Whoever calls it has checked that the range lies within the device.
 */
export interface Backend {
  /** Bytes. */
  readonly size: bigint;
  readonly blockSize: number;
  readonly readOnly: boolean;
  readonly canFlush: boolean;
  readonly canTrim: boolean;
  readonly canZeroFast: boolean;
  readonly hasExtents: boolean;
  read(high: number, low: number, buffer: Buffer): MaybePromise<void>;
  write(high: number, low: number, buffer: Buffer): MaybePromise<void>;
  zero(high: number, low: number, length: number): MaybePromise<void>;
  trim(high: number, low: number, length: number): MaybePromise<void>;
  flush(): MaybePromise<void>;
  extents(high: number, low: number, length: number): MaybePromise<readonly Extent[]>;
  unmount(): MaybePromise<void>;
}

const MOST_BLOCK = 65536;
const TWO_32 = 2 ** 32;

/**
 * Checks what a device says of itself and takes care of alignment for it.
 *
 * @throws LabError `nbd/device` naming what is wrong with it.
 */
export function backendOf(device: AnyBlockDevice): Backend {
  const blockSize = device.blockSize();
  const blocks = device.blocks();
  const power = Number.isInteger(blockSize) && blockSize >= 1 && (blockSize & (blockSize - 1)) === 0;
  if (!power || blockSize > MOST_BLOCK)
    throw badDevice(`blockSize() is ${blockSize}; it has to be a power of 2 from 1 to ${MOST_BLOCK}`);
  if (typeof blocks === 'number' && !(Number.isInteger(blocks) && blocks >= 0))
    throw badDevice(`blocks() is ${blocks}; it has to be a whole number`);
  const size = BigInt(blocks) * BigInt(blockSize);
  if (size < 0n || size >= 2n ** 63n)
    throw badDevice(`its size would be ${size} bytes; it has to be below 2^63`);
  if (typeof blocks === 'number' && size > BigInt(Number.MAX_SAFE_INTEGER))
    throw badDevice(`its size is ${size} bytes, which a number cannot count: let blocks() return a bigint`);
  return typeof blocks === 'bigint'
    ? new Aligned(device as BlockDevice<bigint>, size, blockSize, bigOffset, (a, b) => a + BigInt(b))
    : new Aligned(device as BlockDevice<number>, size, blockSize, smallOffset, (a, b) => a + b);
}

function badDevice(what: string): LabError {
  return new LabError({
    code: 'nbd/device',
    blame: 'user',
    fact: 'the block device does not say a size that can be served',
    evidence: [what],
    next: 'correct blockSize() and blocks() of the device',
  });
}

const smallOffset = (high: number, low: number) => high * TWO_32 + low;
const bigOffset = (high: number, low: number) => (BigInt(high) << 32n) | BigInt(low);

/** A write that has not ended: from its first to after its last block. */
interface Active<Offset> {
  readonly start: Offset;
  readonly end: Offset;
  readonly ended: Promise<unknown>;
}

class Aligned<Offset extends number | bigint> implements Backend {
  readonly #device: BlockDevice<Offset>;
  readonly size: bigint;
  readonly blockSize: number;
  readonly readOnly: boolean;
  readonly canFlush: boolean;
  readonly canTrim: boolean;
  readonly canZeroFast: boolean;
  readonly hasExtents: boolean;
  readonly #mask: number;
  readonly #offset: (high: number, low: number) => Offset;
  readonly #plus: (offset: Offset, count: number) => Offset;
  /** Only for devices whose writes do not end at once. */
  readonly #active = new Set<Active<Offset>>();

  constructor(
    device: BlockDevice<Offset>,
    size: bigint,
    blockSize: number,
    offset: (high: number, low: number) => Offset,
    plus: (offset: Offset, count: number) => Offset,
  ) {
    this.#device = device;
    this.size = size;
    this.blockSize = blockSize;
    this.readOnly = device.write === undefined;
    this.canFlush = device.flush !== undefined;
    this.canTrim = device.trim !== undefined && !this.readOnly;
    this.canZeroFast = device.zero !== undefined && !this.readOnly;
    this.hasExtents = device.extents !== undefined;
    this.#mask = blockSize - 1;
    this.#offset = offset;
    this.#plus = plus;
  }

  read(high: number, low: number, buffer: Buffer): MaybePromise<void> {
    const offset = this.#offset(high, low);
    const before = low & this.#mask;
    if (((before | buffer.length) & this.#mask) === 0) return this.#device.read(offset, buffer);
    return this.#readPart(offset, before, buffer);
  }

  write(high: number, low: number, buffer: Buffer): MaybePromise<void> {
    const offset = this.#offset(high, low);
    const before = low & this.#mask;
    const partial = ((before | buffer.length) & this.#mask) !== 0;
    if (!partial && this.#active.size === 0)
      return this.#watched(offset, buffer.length, this.#write(offset, buffer));
    if (!partial && !this.#overlaps(offset, buffer.length)) {
      return this.#watched(offset, buffer.length, this.#write(offset, buffer));
    }
    return this.#writePart(offset, before, buffer);
  }

  zero(high: number, low: number, length: number): MaybePromise<void> {
    const whole = ((low | length) & this.#mask) === 0;
    if (whole && this.#device.zero !== undefined) {
      const offset = this.#offset(high, low);
      return this.#watched(offset, length, this.#device.zero(offset, length));
    }
    return this.#writeZeros(high, low, length);
  }

  /** Only whole blocks: the specification lets a server round a trim inwards. */
  trim(high: number, low: number, length: number): MaybePromise<void> {
    const skip = -low & this.#mask;
    const inner = (length - skip) & ~this.#mask;
    if (length <= skip || inner === 0) return;
    return this.#device.trim?.(this.#plus(this.#offset(high, low), skip), inner);
  }

  flush(): MaybePromise<void> {
    return this.#device.flush?.();
  }

  async extents(high: number, low: number, length: number): Promise<readonly Extent[]> {
    const before = low & this.#mask;
    const start = this.#plus(this.#offset(high, low), -before);
    const list = (await this.#device.extents?.(start, this.#up(before + length))) ?? [];
    const [first, ...rest] = list;
    if (first === undefined || list.some((extent) => !(extent.length > 0)))
      throw new RangeError('extents() has to return at least one extent, each longer than 0');
    return [{ ...first, length: first.length - before }, ...rest];
  }

  unmount(): MaybePromise<void> {
    return this.#device.unmount?.();
  }

  #up(count: number): number {
    return (count + this.#mask) & ~this.#mask;
  }

  #write(offset: Offset, buffer: Buffer): MaybePromise<void> {
    if (this.#device.write === undefined) throw new TypeError('the device is read-only');
    return this.#device.write(offset, buffer);
  }

  async #readPart(offset: Offset, before: number, buffer: Buffer): Promise<void> {
    const whole = Buffer.allocUnsafe(this.#up(before + buffer.length));
    await this.#device.read(this.#plus(offset, -before), whole);
    whole.copy(buffer, 0, before, before + buffer.length);
  }

  /** Read, change, write; nobody else writes to these blocks in the meantime. */
  async #writePart(offset: Offset, before: number, buffer: Buffer): Promise<void> {
    const start = this.#plus(offset, -before);
    const length = this.#up(before + buffer.length);
    while (this.#overlaps(start, length)) await Promise.race([...this.#active].map(({ ended }) => ended));
    await this.#watched(start, length, this.#change(start, length, before, buffer));
  }

  async #change(start: Offset, length: number, before: number, buffer: Buffer): Promise<void> {
    const whole = Buffer.allocUnsafe(length);
    const last = length - this.blockSize;
    if (before > 0) await this.#device.read(start, whole.subarray(0, this.blockSize));
    const ragged = before + buffer.length < length;
    if (ragged && (last > 0 || before === 0))
      await this.#device.read(this.#plus(start, last), whole.subarray(last));
    buffer.copy(whole, before);
    await this.#write(start, whole);
  }

  #overlaps(offset: Offset, length: number): boolean {
    const end = this.#plus(offset, length);
    for (const active of this.#active) if (active.start < end && offset < active.end) return true;
    return false;
  }

  #watched(start: Offset, length: number, work: MaybePromise<void>): MaybePromise<void> {
    if (!(work instanceof Promise)) return work;
    const active = { start, end: this.#plus(start, length), ended: work.catch(() => {}) };
    this.#active.add(active);
    return work.finally(() => this.#active.delete(active));
  }

  async #writeZeros(high: number, low: number, length: number): Promise<void> {
    const zeros = Buffer.alloc(Math.min(length, ZEROS));
    for (let done = 0; done < length; done += zeros.length) {
      const at = low + done;
      const part = zeros.subarray(0, Math.min(zeros.length, length - done));
      await this.write(high + Math.floor(at / TWO_32), at % TWO_32, part);
    }
  }
}

/** Zeros that are written at a time. */
const ZEROS = 1024 * 1024;
