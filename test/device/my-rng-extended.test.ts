import { describe, expect, test } from 'vitest';
import { glibcRandom } from '../../src/labs/my-rng/glibc-random.js';
import type { BareMachine } from '../../src/machine/bare.js';
import { writeConfig } from '../../src/qtest/pci.js';
import { findBuiltTree } from '../support/device-qemu.js';
import {
  BAD_LENGTH,
  BUFFER,
  BUS_ERROR,
  COMPLETION,
  CONTROL,
  DONE,
  ExtendedRng,
  FEATURES,
  IRQ_ENABLE,
  IRQ_STATUS,
  RING,
  RING_ADDRESS,
  RING_ERROR,
  RING_HEAD,
  RING_SIZE,
  RING_TAIL,
  RNG64,
} from '../support/extended-rng.js';
import { publishedVectors } from '../support/generator-vectors.js';
import { findCapability } from '../support/pci-capability.js';
import { useReferenceDevice } from '../support/reference-device.js';

const tree = await findBuiltTree();
const why = tree === undefined ? ' (skipped: no QEMU in the cache; `lab up` builds one)' : '';
const { launch } = useReferenceDevice(tree);

const MiB = 1 << 20;

describe.skipIf(tree === undefined)(`the registers of the extended device${why}`, () => {
  test('a basic device has none of it', async () => {
    await using machine = await launch('');
    const rng = await ExtendedRng.map(machine);
    expect(await rng.config(0x3d, 1)).toBe(0);
    expect((await rng.config(0x06, 2)) & 0x10).toBe(0);
    await rng.rng.seed(7);
    for (let offset = 8; offset < 0x40; offset += 4) expect(await rng.read(offset)).toBe(0);
    expect(await rng.rng.readSized(RNG64, 8)).toBe(0n);
    await rng.start(1);
    await rng.write(RING_TAIL, 1);
    expect(await rng.rng.numbers(5)).toEqual(glibcRandom(7, 5));
    expect([await rng.counter('reads'), await rng.counter('wide-reads')]).toEqual([5, 0]);
  });

  test('it can be told by its pin; MSI can be left out', async () => {
    await using machine = await launch();
    const rng = await ExtendedRng.map(machine);
    expect(await rng.config(0x3d, 1)).toBe(1);
    const msi = await findCapability(machine.qtest, rng.rng.pci, 0x05);
    expect(await rng.config(msi + 2, 2)).toBe(0x0080);
    await using other = await launch(',extended=on,msi=off');
    const plain = await ExtendedRng.map(other);
    expect(await plain.config(0x3d, 1)).toBe(1);
    expect((await plain.config(0x06, 2)) & 0x10).toBe(0);
  });

  test('RNG64 gives two numbers of the same sequence', async () => {
    await using machine = await launch();
    const rng = await ExtendedRng.map(machine);
    const wanted = glibcRandom(0x42, 6);
    await rng.rng.seed(0x42);
    expect(await rng.rng.numbers(1)).toEqual(wanted.slice(0, 1));
    for (const [low, high] of [
      [wanted[1], wanted[2]],
      [wanted[3], wanted[4]],
    ])
      expect(await rng.rng.readSized(RNG64, 8)).toBe((BigInt(high ?? 0) << 32n) | BigInt(low ?? 0));
    expect(await rng.rng.numbers(1)).toEqual(wanted.slice(5));
    expect([await rng.counter('reads'), await rng.counter('wide-reads')]).toEqual([2, 2]);
  });

  test('what can be written is kept, and no more', async () => {
    await using machine = await launch();
    const rng = await ExtendedRng.map(machine);
    expect(await rng.read(FEATURES)).toBe(0x0001_0003);
    await rng.write(FEATURES, 0);
    expect(await rng.read(FEATURES)).toBe(0x0001_0003);
    await rng.write(IRQ_ENABLE, 0xffffffff);
    expect(await rng.read(IRQ_ENABLE)).toBe(COMPLETION | RING_ERROR);
    await rng.write(IRQ_STATUS, 0xffffffff);
    expect(await rng.read(IRQ_STATUS)).toBe(0);
    await rng.rng.write(RING_ADDRESS, 8, 0xfedcba9876543210n);
    expect(await rng.rng.readSized(RING_ADDRESS, 8)).toBe(0xfedcba9876543210n);
    await rng.write(RING_TAIL, 5);
    await rng.write(RING_HEAD, 5);
    expect([await rng.read(RING_TAIL), await rng.read(RING_HEAD)]).toEqual([0, 0]);
    await rng.start(8);
    await rng.write(RING_SIZE, 4);
    await rng.rng.write(RING_ADDRESS, 8, BUFFER);
    expect([await rng.read(RING_SIZE), await rng.rng.readSized(RING_ADDRESS, 8)]).toEqual([8, BigInt(RING)]);
    expect(await rng.read(CONTROL)).toBe(1);
  });

  test('every access is counted, and time only when asked for', async () => {
    await using machine = await launch(',extended=on,timing=on');
    const rng = await ExtendedRng.map(machine);
    await rng.rng.sequence(1, 3);
    await rng.rng.readSized(RNG64, 8);
    await rng.rng.readSized(0xff0, 1);
    expect(await rng.counter('accesses')).toBe(6);
    expect(await rng.counter('device-ns')).toBeGreaterThan(0);
    await using other = await launch();
    const plain = await ExtendedRng.map(other);
    await plain.rng.sequence(1, 3);
    expect(await plain.counter('device-ns')).toBe(0);
  });

  test('an access of another size or place is none', async () => {
    await using machine = await launch();
    const rng = await ExtendedRng.map(machine);
    await rng.rng.seed(3);
    for (const offset of [RNG64, RING_ADDRESS]) {
      for (const size of [1, 2, 4] as const) expect(await rng.rng.readSized(offset, size)).toBe(0n);
    }
    for (const size of [1, 2, 8] as const) {
      expect(await rng.rng.readSized(FEATURES, size)).toBe(0n);
      await rng.rng.write(IRQ_ENABLE, size, 3);
    }
    for (const offset of [1, 0x0c, 0x12, 0x24, 0x34, 0x38, 0xff8, 0xffc]) {
      expect(await rng.rng.readSized(offset, 4)).toBe(0n);
    }
    expect(await rng.read(IRQ_ENABLE)).toBe(0);
    expect(await rng.rng.numbers(3)).toEqual(glibcRandom(3, 3));
  });
});

describe.skipIf(tree === undefined)(`the algorithms of the device${why}`, () => {
  test.each(publishedVectors)('$algorithm gives what $source', async ({ algorithm, seed, skip, numbers }) => {
    await using machine = await launch(`,extended=on,algorithm=${algorithm}`);
    const rng = await ExtendedRng.map(machine);
    const count = skip + numbers.length;
    await rng.rng.seed(seed);
    await rng.start(1);
    await rng.put(1, 0, [{ address: BUFFER, length: 4 * count }]);
    await rng.complete(1);
    const bulk = await rng.numbers(BUFFER, count);
    expect(bulk.slice(skip)).toEqual(numbers);
    expect(await rng.rng.sequence(seed, Math.min(count, 100))).toEqual(bulk.slice(0, 100));
  });

  test('an unknown one is refused with the names of all', async () => {
    await expect(launch(',algorithm=rot13')).rejects.toMatchObject({
      code: 'machine/start',
      evidence: [expect.stringContaining("'rot13' (known: libc, xorshift64star, pcg32, mt19937)")],
    });
  });
});

describe.skipIf(tree === undefined)(`bulk transfer${why}`, () => {
  test('fills buffers of all lengths with the one sequence', async () => {
    await using machine = await launch();
    const rng = await ExtendedRng.map(machine);
    const lengths = [4, 8, 4092, 4096, 4100, 65536, MiB];
    await rng.rng.seed(0x42);
    await rng.start(8);
    let at = BUFFER + 1;
    const orders = lengths.map((length) => {
      const address = at;
      at += length + 4;
      return { address, length };
    });
    await rng.put(8, 0, orders);
    await rng.complete(orders.length);
    const total = lengths.reduce((sum, length) => sum + length, 0);
    const wanted = glibcRandom(0x42, total / 4);
    let from = 0;
    for (const [index, { address, length }] of orders.entries()) {
      const numbers = await rng.numbers(address, length / 4 + 1);
      expect(numbers.pop()).toBe(0);
      expect(numbers).toEqual(wanted.slice(from, from + length / 4));
      expect(await rng.status(index)).toBe(DONE);
      from += length / 4;
    }
    expect(await rng.counter('bulk-bytes')).toBe(total);
    expect(await rng.counter('bulk-descriptors')).toBe(lengths.length);
    expect(await rng.read(IRQ_STATUS)).toBe(COMPLETION);
  });

  test('goes round the ring', async () => {
    await using machine = await launch();
    const rng = await ExtendedRng.map(machine);
    await rng.rng.seed(9);
    await rng.start(2);
    const wanted = glibcRandom(9, 12);
    for (let tail = 2; tail <= 6; tail += 2) {
      await rng.put(2, tail - 2, [
        { address: BUFFER, length: 8 },
        { address: BUFFER + 8, length: 8 },
      ]);
      await rng.complete(tail);
      expect(await rng.numbers(BUFFER, 4)).toEqual(wanted.slice(2 * (tail - 2), 2 * tail));
    }
    await rng.write(CONTROL, 0);
    expect([await rng.read(RING_TAIL), await rng.read(RING_HEAD)]).toEqual([6, 6]);
    await rng.write(CONTROL, 1);
    expect([await rng.read(RING_TAIL), await rng.read(RING_HEAD)]).toEqual([0, 0]);
  });

  test('tells bad lengths and addresses in the descriptor, and goes on', async () => {
    await using machine = await launch();
    const rng = await ExtendedRng.map(machine);
    const bad = [0, 1, 3, 5, 4094, MiB + 4, 0xfffffffc, 0xffffffff].map((length) => ({
      address: BUFFER,
      length,
    }));
    const unreachable = [0x20000000n, 0xfffffffffffffffcn, 0xfffffffffffffff0n].map((address) => ({
      address,
      length: 8,
    }));
    await rng.start(16);
    await rng.put(16, 0, [...bad, ...unreachable, { address: BUFFER, length: 4 }]);
    await rng.complete(12);
    const statuses = await Promise.all(Array.from({ length: 12 }, (_, index) => rng.status(index)));
    expect(statuses).toEqual([...bad.map(() => BAD_LENGTH), ...unreachable.map(() => BUS_ERROR), DONE]);
    expect(await rng.read(IRQ_STATUS)).toBe(COMPLETION);
  });

  test.each([
    ['a size of 0', 0, RING],
    ['a size that is no power of two', 3, RING],
    ['a size beyond 256', 512, RING],
    ['an address that is not aligned', 4, RING + 8],
    ['an address at the end of all', 4, 0xfffffffffffffff0n],
  ])('does not start with %s', async (_, size, address) => {
    await using machine = await launch();
    const rng = await ExtendedRng.map(machine);
    await rng.start(size, address);
    expect([await rng.read(CONTROL), await rng.read(IRQ_STATUS)]).toEqual([0, RING_ERROR]);
    await rng.write(IRQ_STATUS, RING_ERROR);
    await rng.start(4);
    expect([await rng.read(CONTROL), await rng.read(IRQ_STATUS)]).toEqual([1, 0]);
  });

  test('stops when more is offered than the ring has, or it is not there', async () => {
    await using machine = await launch();
    const rng = await ExtendedRng.map(machine);
    await rng.start(4);
    await rng.write(RING_TAIL, 5);
    expect([await rng.read(CONTROL), await rng.read(IRQ_STATUS)]).toEqual([0, RING_ERROR]);
    await rng.write(IRQ_STATUS, RING_ERROR);
    await rng.start(4, 0x20000000);
    await rng.write(RING_TAIL, 1);
    await rng.reaches(async () => (await rng.read(CONTROL)) === 0, 'its end');
    expect(await rng.read(IRQ_STATUS)).toBe(RING_ERROR);
    expect(await rng.counter('bulk-descriptors')).toBe(0);
  });
});

describe.skipIf(tree === undefined)(`interrupts of the extended device${why}`, () => {
  test('a message is sent when an enabled event becomes pending', async () => {
    await using machine = await launch();
    const rng = await ExtendedRng.map(machine);
    const at = await findCapability(machine.qtest, rng.rng.pci, 0x05);
    const MESSAGE = 0x300000;
    await rng.setConfig(at + 4, 4, MESSAGE);
    await rng.setConfig(at + 12, 2, 0x1234);
    await rng.setConfig(at + 2, 2, 1);
    const received = async () => {
      const value = await machine.qtest.readl(MESSAGE);
      await machine.qtest.writel(MESSAGE, 0);
      return value;
    };
    await rng.start(4);
    await rng.put(4, 0, Array(4).fill({ address: BUFFER, length: 4 }));
    await rng.complete(1);
    expect(await received()).toBe(0);
    await rng.write(IRQ_ENABLE, COMPLETION);
    expect(await received()).toBe(0x1234);
    await rng.complete(2);
    expect(await received()).toBe(0);
    await rng.write(IRQ_STATUS, COMPLETION);
    expect(await received()).toBe(0);
    await rng.complete(4);
    expect(await received()).toBe(0x1234);
    await rng.write(RING_TAIL, 100);
    expect(await received()).toBe(0);
    expect(await rng.counter('interrupts')).toBe(2);
  });

  test('what is pending is told by the line when messages are turned off', async () => {
    await using machine = await launch();
    const rng = await ExtendedRng.map(machine);
    const raised = await watchPirqs(machine);
    const at = await findCapability(machine.qtest, rng.rng.pci, 0x05);
    await rng.setConfig(at + 2, 2, 1);
    await rng.write(IRQ_ENABLE, RING_ERROR);
    await rng.start(0);
    expect([raised(), await interruptStatus(rng)]).toEqual([false, false]);
    await rng.setConfig(at + 2, 2, 0);
    expect([await interruptStatus(rng), raised()]).toEqual([true, true]);
    await rng.setConfig(at + 2, 2, 1);
    expect([await interruptStatus(rng), raised()]).toEqual([false, false]);
  });

  test('INTx is asserted while an enabled event is pending', async () => {
    await using machine = await launch(',extended=on,msi=off');
    const rng = await ExtendedRng.map(machine);
    const raised = await watchPirqs(machine);
    await rng.start(4);
    await rng.put(4, 0, Array(4).fill({ address: BUFFER, length: 4 }));
    await rng.complete(1);
    expect(raised()).toBe(false);
    await rng.write(IRQ_ENABLE, COMPLETION);
    expect(raised()).toBe(true);
    await rng.complete(2);
    await rng.write(IRQ_STATUS, RING_ERROR);
    expect(raised()).toBe(true);
    await rng.write(IRQ_STATUS, COMPLETION);
    await rng.read(IRQ_STATUS);
    expect(raised()).toBe(false);
    await rng.complete(3);
    expect(raised()).toBe(true);
    expect(await interruptStatus(rng)).toBe(true);
    await machine.monitor.execute('system_reset');
    await rng.reaches(async () => (await rng.config(0x04, 2)) === 0, 'its reset');
    expect(await interruptStatus(rng)).toBe(false);
    expect(await rng.counter('interrupts')).toBe(2);
  });
});

/** What the device itself says of its line; a reset machine no longer leads it anywhere. */
async function interruptStatus(rng: ExtendedRng): Promise<boolean> {
  return ((await rng.config(0x06, 2)) & 8) !== 0;
}

/** Leads the four PCI interrupts of the `pc` machine to inputs of its I/O APIC, and watches these. */
async function watchPirqs({ qtest }: BareMachine): Promise<() => boolean> {
  await writeConfig(qtest, { bus: 0, slot: 1, function: 0 }, 0x60, 4, 0x0b0a0b0a);
  await qtest.interceptIrqs('in', '/machine/i440fx/ioapic');
  return () => qtest.irq(10) || qtest.irq(11);
}
