import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { glibcRandom } from '../../src/labs/my-rng/glibc-random.js';
import { keyedNumbers } from '../../src/labs/my-rng/grading/keyed.js';
import type { BareMachine } from '../../src/machine/bare.js';
import { writeConfig } from '../../src/qtest/pci.js';
import { findBuiltTree } from '../support/device-qemu.js';
import {
  BUFFER,
  BUS_ERROR,
  COMPLETION,
  CONTROL,
  DONE,
  ExtendedRng,
  IRQ_ENABLE,
  IRQ_STATUS,
  RING,
  RING_ADDRESS,
  RING_ERROR,
  RING_HEAD,
  RING_SIZE,
  RING_TAIL,
} from '../support/extended-rng.js';
import { findCapability } from '../support/pci-capability.js';
import { useReferenceDevice } from '../support/reference-device.js';

const tree = await findBuiltTree();
const why = tree === undefined ? ' (skipped: no QEMU in the cache; `lab up` builds one)' : '';
const { launch, folder } = useReferenceDevice(tree);

const MiB = 1 << 20;
const KEY = '00112233445566778899aabbccddeeff';
const SEED = 0x42;
/** Keyed numbers take long: a mebibyte of them hundreds of milliseconds, so that a transfer has a middle. */
const SLOW = `,extended=on,key=${KEY}`;
/** Where the registers of the first and the second device are. */
const BARS = [0xe0000000, 0xf0000000] as const;

/** Begins to fill one mebibyte, and comes back when something of it is there. */
async function beginTransfer(rng: ExtendedRng): Promise<void> {
  await rng.rng.seed(SEED);
  await rng.start(4);
  await rng.put(4, 0, Array(4).fill({ address: BUFFER, length: MiB }));
  await rng.write(RING_TAIL, 1);
  await rng.reaches(async () => (await rng.counter('bulk-bytes')) !== 0, 'the first bytes');
}

/** How many bytes were moved so far, which must be some and not all, and stay the same. */
async function restingAt(rng: ExtendedRng): Promise<number> {
  const bytes = (await rng.counter('bulk-bytes')) as number;
  for (let i = 0; i < 50; i += 1) expect(await rng.counter('bulk-bytes')).toBe(bytes);
  expect(bytes).toBeGreaterThan(0);
  expect(bytes).toBeLessThan(MiB);
  return bytes;
}

/** The buffer holds the keyed numbers from the start of the sequence on, also around `middle`. */
async function expectWhole(rng: ExtendedRng, middle: number): Promise<void> {
  for (const at of [0, middle / 4 - 16, MiB / 4 - 32]) {
    expect(await rng.numbers(BUFFER + 4 * at, 32)).toEqual(keyedNumbers(KEY, SEED, at, 32));
  }
}

describe.skipIf(tree === undefined)(`a transfer under way${why}`, () => {
  test('is cancelled by CONTROL', async () => {
    await using machine = await launch(SLOW);
    const rng = await ExtendedRng.map(machine);
    await beginTransfer(rng);
    await rng.write(CONTROL, 0);
    const bytes = await restingAt(rng);
    expect(await rng.numbers(BUFFER + bytes, 8)).toEqual(Array(8).fill(0));
    expect([await rng.read(RING_HEAD), await rng.status(0), await rng.read(IRQ_STATUS)]).toEqual([0, 0, 0]);
    expect(await rng.rng.numbers(3)).toEqual(keyedNumbers(KEY, SEED, bytes / 4, 3));
    await rng.start(4);
    await rng.put(4, 0, [{ address: BUFFER, length: 16 }]);
    await rng.complete(1);
    expect(await rng.numbers(BUFFER, 4)).toEqual(keyedNumbers(KEY, SEED, bytes / 4 + 3, 4));
  });

  test('is cancelled by a reset', async () => {
    await using machine = await launch(SLOW);
    await beginTransfer(await ExtendedRng.map(machine));
    const reset = machine.monitor.nextEvent('RESET', { timeout: 10_000 });
    await machine.monitor.execute('system_reset');
    await reset;
    const rng = await ExtendedRng.map(machine);
    const bytes = await restingAt(rng);
    expect(await rng.numbers(BUFFER + bytes, 8)).toEqual(Array(8).fill(0));
    for (const offset of [IRQ_STATUS, IRQ_ENABLE, CONTROL, RING_SIZE, RING_TAIL, RING_HEAD]) {
      expect(await rng.read(offset)).toBe(0);
    }
    expect(await rng.rng.readSized(RING_ADDRESS, 8)).toBe(0n);
    expect(await rng.rng.numbers(3)).toEqual(keyedNumbers(KEY, 0, 0, 3));
  });

  test('is ended by unplugging the device', async () => {
    await using machine = await launch(SLOW);
    const rng = await ExtendedRng.map(machine);
    await beginTransfer(rng);
    const gone = machine.monitor.nextEvent('DEVICE_DELETED', { timeout: 10_000 });
    await machine.monitor.execute('device_del', { id: 'rng0' });
    await machine.qtest.outl(0xae10, 0); // ACPI PCI hot-plug: the bus, then the slot to eject
    await machine.qtest.outl(0xae08, 2 ** rng.rng.pci.slot);
    await gone;
    expect(await rng.numbers(BUFFER + MiB - 32, 8)).toEqual(Array(8).fill(0));
    await machine.monitor.execute('stop');
    await machine.monitor.execute('cont');
    expect(await machine.monitor.execute('query-status')).toMatchObject({ running: true });
  });

  test('waits while the machine is stopped, and its registers are still served', async () => {
    await using machine = await launch(SLOW);
    const rng = await ExtendedRng.map(machine);
    await beginTransfer(rng);
    await machine.monitor.execute('stop');
    const bytes = await restingAt(rng);
    await rng.write(RING_TAIL, 2);
    expect(await restingAt(rng)).toBe(bytes);
    expect(await rng.read(RING_HEAD)).toBe(0);
    await machine.monitor.execute('cont');
    await rng.reaches(async () => (await rng.read(RING_HEAD)) === 1, 'the end of the first order');
    await rng.write(CONTROL, 0);
    expect(await rng.status(0)).toBe(DONE);
  });

  test('goes on in another QEMU where it was saved', async () => {
    const state = join(folder.path, 'transfer');
    let bytes = 0;
    {
      await using machine = await launch(SLOW);
      const rng = await ExtendedRng.map(machine);
      await beginTransfer(rng);
      await rng.write(IRQ_ENABLE, COMPLETION);
      await machine.monitor.execute('stop');
      bytes = await restingAt(rng);
      await save(machine, state);
      expect(await restingAt(rng)).toBe(bytes);
    }
    await using machine = await launch(SLOW, 1, { extra: ['-incoming', 'defer'] });
    await restore(machine, state);
    const rng = await ExtendedRng.map(machine);
    expect([await rng.read(RING_TAIL), await rng.read(RING_HEAD)]).toEqual([1, 0]);
    expect(await rng.read(IRQ_ENABLE)).toBe(COMPLETION);
    expect(await rng.numbers(BUFFER + bytes, 1)).toEqual([0]);
    await machine.monitor.execute('cont');
    await rng.reaches(async () => (await rng.read(RING_HEAD)) === 1, 'the end of the order');
    expect([await rng.status(0), await rng.read(IRQ_STATUS)]).toEqual([DONE, COMPLETION]);
    await expectWhole(rng, bytes);
    expect(await rng.rng.numbers(3)).toEqual(keyedNumbers(KEY, SEED, MiB / 4, 3));
  });
});

describe.skipIf(tree === undefined)(`a saved device${why}`, () => {
  test.each([
    '',
    ',extended=on',
    ',algorithm=xorshift64star',
    ',algorithm=pcg32',
    ',algorithm=mt19937',
    `,key=${KEY}`,
  ])('my_rng%s goes on with its sequence', async (properties) => {
    const state = join(folder.path, 'sequence');
    let wanted: number[] = [];
    {
      await using machine = await launch(properties);
      const rng = await ExtendedRng.map(machine);
      wanted = (await rng.rng.sequence(SEED, 700)).slice(650);
      await rng.rng.sequence(SEED, 650);
      await save(machine, state);
    }
    await using machine = await launch(properties, 1, { extra: ['-incoming', 'defer'] });
    await restore(machine, state);
    const rng = await ExtendedRng.map(machine);
    expect(await rng.rng.numbers(50)).toEqual(wanted);
  });

  test('is saved by a basic device as it ever was', async () => {
    const state = join(folder.path, 'basic');
    await using machine = await launch('');
    await save(machine, state);
    const stream = await readFile(state);
    expect(stream.includes('my_rng')).toBe(true);
    expect(stream.includes('my_rng/')).toBe(false);
  });

  test.each([
    [',extended=on', ''],
    ['', ',extended=on'],
    [',extended=on', ',extended=on,msi=off'],
    [',algorithm=pcg32', ''],
    ['', ',algorithm=pcg32'],
    [',algorithm=pcg32', ',algorithm=mt19937'],
  ])('my_rng%s is no my_rng%s', async (from, to) => {
    const state = join(folder.path, 'other');
    {
      await using machine = await launch(from);
      await save(machine, state);
    }
    await expectRefused(to, state);
  });

  const ring = (tail: number) => {
    const bytes = Buffer.alloc(16);
    bytes.writeBigUInt64BE(BigInt(RING), 0);
    bytes.writeUInt32BE(4, 8);
    bytes.writeUInt32BE(tail, 12);
    return bytes;
  };
  /** Fields of a ring in the stream, by their distance from its address. */
  const at = {
    status: -8,
    enable: -4,
    address: 0,
    size: 8,
    tail: 12,
    head: 16,
    taken: 21,
    buffer: 22,
    length: 30,
    done: 34,
  };

  test.each<[string, number, number[]]>([
    ['an event that there is not', at.status, [0, 0, 0, 4]],
    ['an interrupt that there is not', at.enable, [0, 0, 0, 4]],
    ['a ring that is not aligned', at.address + 7, [1]],
    ['a ring of no size', at.size, [0, 0, 0, 0]],
    ['a ring beyond its size', at.size, [0, 0, 2, 0]],
    ['more than the ring has', at.tail, [0, 0, 0, 5]],
    ['a descriptor in progress where none is offered', at.tail, [0, 0, 0, 0]],
    ['a buffer at the end of all', at.buffer, Array(8).fill(0xff)],
    ['a transfer of no length', at.length, [0, 0, 0, 0]],
    ['a transfer beyond its length', at.length, [0xff, 0xff, 0xff, 0xfc]],
    ['half a number', at.done + 3, [2]],
    ['more than all done', at.done, [0xff, 0xff, 0xff, 0xfc]],
  ])('is refused with %s', async (_, offset, bytes) => {
    const state = join(folder.path, 'forged');
    {
      await using machine = await launch(SLOW);
      const rng = await ExtendedRng.map(machine);
      await beginTransfer(rng);
      await machine.monitor.execute('stop');
      await restingAt(rng);
      await save(machine, state);
    }
    const stream = await readFile(state);
    const place = stream.indexOf(ring(1));
    expect(stream.indexOf(ring(1), place + 1)).toBe(-1);
    expect(stream[place + at.taken]).toBe(1);
    Buffer.from(bytes).copy(stream, place + offset);
    await writeFile(state, stream);
    await expectRefused(SLOW, state);
  });
});

describe.skipIf(tree === undefined)(`devices and their addresses${why}`, () => {
  test('two devices are independent', async () => {
    await using machine = await launch(',extended=on', 2);
    const [first, second] = [await ExtendedRng.map(machine, 'rng0'), await ExtendedRng.map(machine, 'rng1')];
    await first.rng.seed(7);
    await second.rng.seed(9);
    await first.start(1);
    await first.put(1, 0, [{ address: BUFFER, length: 400 }]);
    await first.complete(1);
    expect(await second.rng.numbers(5)).toEqual(glibcRandom(9, 5));
    expect(await first.numbers(BUFFER, 100)).toEqual(glibcRandom(7, 100));
    expect([await second.read(CONTROL), await second.read(IRQ_STATUS)]).toEqual([0, 0]);
    expect([await first.counter('bulk-bytes'), await second.counter('bulk-bytes')]).toEqual([400, 0]);
  });

  test('one writes to the registers of the other', async () => {
    await using machine = await launch(',extended=on', 2);
    const [first, second] = [await ExtendedRng.map(machine, 'rng0'), await ExtendedRng.map(machine, 'rng1')];
    await first.rng.seed(7);
    await first.start(1);
    await first.put(1, 0, [{ address: BARS[1] + 4, length: 4 }]);
    await first.complete(1);
    expect(await first.status(0)).toBe(DONE);
    expect(await second.rng.numbers(3)).toEqual(glibcRandom(glibcRandom(7, 1)[0] ?? 0, 3));
  });

  test('none writes to its own', async () => {
    await using machine = await launch();
    const rng = await ExtendedRng.map(machine);
    await rng.rng.seed(7);
    await rng.start(4);
    await rng.put(4, 0, [
      { address: BARS[0] + 4, length: 4 },
      { address: BARS[0], length: 4096 },
      { address: BUFFER, length: 4 },
    ]);
    await rng.complete(3);
    expect(await Promise.all([0, 1, 2].map((index) => rng.status(index)))).toEqual([
      BUS_ERROR,
      BUS_ERROR,
      DONE,
    ]);
    expect(await rng.counter('seeds')).toBe(1);
    expect([await rng.read(CONTROL), await rng.read(RING_TAIL)]).toEqual([1, 3]);
  });

  test('none has its ring in its own, or its message sent there', async () => {
    await using machine = await launch();
    const rng = await ExtendedRng.map(machine);
    const at = await findCapability(machine.qtest, rng.rng.pci, 0x05);
    await rng.setConfig(at + 4, 4, BARS[0] + CONTROL);
    await rng.setConfig(at + 2, 2, 1);
    await rng.write(IRQ_ENABLE, RING_ERROR);
    await rng.start(4, BARS[0]);
    await rng.write(RING_TAIL, 1);
    await rng.reaches(async () => (await rng.read(IRQ_STATUS)) === RING_ERROR, 'the error');
    expect([await rng.read(CONTROL), await rng.counter('interrupts')]).toEqual([0, 1]);
  });
});

describe.skipIf(tree === undefined)(`a device in a PCI Express slot${why}`, () => {
  const port = { bus: 0, slot: 2, function: 0 };
  /** A value of the slot control register: power off, power indicator off. */
  const OFF = 0x700;

  /** A machine `q35` with the device behind a root port, and the address of the slot control register. */
  async function plugged(): Promise<{ machine: BareMachine; rng: ExtendedRng; slot: number }> {
    const machine = await launch('', 0, {
      devices: [
        'pcie-root-port,id=root,chassis=1,slot=1,addr=2',
        'my_rng,extended=on,id=rng0,bus=root,addr=0',
      ],
      extra: ['-machine', 'q35', '-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'],
    });
    const { qtest } = machine;
    await writeConfig(qtest, { bus: 0, slot: 0, function: 0 }, 0x60, 4, 0xb0000001); // PCIEXBAR
    await writeConfig(qtest, port, 0x18, 4, 0x00010100); // bus 1 is behind it
    await writeConfig(qtest, port, 0x20, 4, 0xe000e000); // and one mebibyte from 0xe0000000
    await writeConfig(qtest, port, 0x04, 2, 7);
    const express = await findCapability(qtest, port, 0x10);
    const slot = 0xb0000000 + (port.slot << 15) + express + 0x18;
    return { machine, rng: await ExtendedRng.map(machine), slot };
  }

  test('unplugs itself by a transfer', async () => {
    const { machine, rng, slot } = await plugged();
    await using _ = machine;
    let seed = 1;
    while (((glibcRandom(seed, 1)[0] ?? 0) & OFF) !== OFF) seed += 1;
    await rng.rng.seed(seed);
    await rng.start(4);
    await rng.put(4, 0, [
      { address: slot, length: 4 },
      { address: BUFFER, length: 4 },
    ]);
    const gone = machine.monitor.nextEvent('DEVICE_DELETED', { timeout: 10_000 });
    await rng.write(RING_TAIL, 2);
    await gone;
    expect([await rng.status(0), await rng.status(1)]).toEqual([0, 0]);
    expect(await rng.numbers(BUFFER, 1)).toEqual([0]);
  });

  test('unplugs itself by a message', async () => {
    const { machine, rng, slot } = await plugged();
    await using _ = machine;
    const at = await findCapability(machine.qtest, rng.rng.pci, 0x05);
    await rng.setConfig(at + 4, 4, slot);
    await rng.setConfig(at + 12, 2, OFF);
    await rng.setConfig(at + 2, 2, 1);
    const gone = machine.monitor.nextEvent('DEVICE_DELETED', { timeout: 10_000 });
    await rng.start(0);
    await rng.write(IRQ_ENABLE, RING_ERROR);
    await gone;
    expect(await machine.monitor.execute('query-status')).toMatchObject({ running: true });
  });
});

/** Saves a machine, which is then stopped. */
async function save({ monitor }: BareMachine, file: string): Promise<void> {
  await monitor.execute('stop');
  await migrated(monitor, 'migrate', file);
}

/** Restores a machine that waits for it; it stays stopped as the saved one was. */
async function restore({ monitor }: BareMachine, file: string): Promise<void> {
  await migrated(monitor, 'migrate-incoming', file);
}

async function migrated(monitor: BareMachine['monitor'], command: string, file: string): Promise<void> {
  await monitor.execute('migrate-set-capabilities', {
    capabilities: [{ capability: 'events', state: true }],
  });
  const end = monitor.nextEvent(
    ({ event, data }) => event === 'MIGRATION' && /^(completed|failed)$/.test(String(data.status)),
    { timeout: 20_000 },
  );
  end.catch(() => {}); // QEMU may end before anybody waits for it
  await monitor.execute(command, { uri: `file:${file}` });
  expect((await end).data.status).toBe('completed');
}

/** QEMU exits, and its last words name the device, when a device with `properties` is to go on from `file`. */
async function expectRefused(properties: string, file: string): Promise<void> {
  await using machine = await launch(properties, 1, { extra: ['-incoming', 'defer'] });
  await restore(machine, file).catch(() => {});
  const { code, lines } = await machine.collect();
  expect(code).toBe(1);
  expect(lines.join('\n')).toMatch(/my_rng/);
}
