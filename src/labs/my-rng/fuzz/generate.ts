import type { Operation, Size } from './operation.js';
import { PLACES, RAM, REGISTERS } from './places.js';
import type { Random } from './random.js';
import { addressOf, ring } from './ring.js';

/** Where a device under test is, as far as the generator knows. */
export interface Target {
  readonly index: number;
  /** Its place on the PCI bus. */
  readonly bus: number;
  readonly slot: number;
  /** Address that its BAR 0 was last given. */
  base: bigint;
  plugged: boolean;
}

/** What the operations of one session are made with. */
export interface World {
  readonly random: Random;
  readonly targets: readonly [Target, ...Target[]];
}

const COMMAND = 0x04;
const BAR0 = 0x10;
/** The first capability that a device adds lies here; MSI is one. */
const CAPABILITY = 0x40;
/** Memory and bus mastering. */
const WORKING = 6;

/**
 * Endless operations for the devices of a world, the same for the same random numbers. They begin with what makes the
 * devices reachable.
 */
export function* operations(world: World): Generator<Operation> {
  yield* setUp(world);
  while (true) {
    const target = world.random.pick(world.targets as readonly [Target, ...Target[]]);
    yield* world.random.weighted(GESTURES)(world, target);
    if (world.random.percent(40)) yield { kind: 'wait' };
  }
}

/** Gives the bridge its bus and window, and each device its place in memory. */
export function* setUp({ targets }: Pick<World, 'targets'>): Generator<Operation> {
  yield* bridge();
  for (const target of targets) yield* map(target);
}

type Gesture = (world: World, target: Target) => Generator<Operation>;

/** What is done in one go, and how often. */
const GESTURES: readonly (readonly [number, Gesture])[] = [
  [300, pokes],
  [200, rings],
  [80, doorbell],
  [60, control],
  [60, interrupts],
  [40, messages],
  [40, commandBits],
  [20, moved],
  [30, anyConfig],
  [40, clock],
  [10, stopped],
  [6, reset],
  [6, busReset],
  [4, replug],
  [2, migrate],
];

/** Reads and writes of any size in any place of the BAR, mostly at registers and borders. */
function* pokes({ random }: World, target: Target): Generator<Operation> {
  for (let left = random.between(1, 16); left > 0; left -= 1) {
    const size = random.weighted<Size>([
      [5, 4],
      [3, 8],
      [1, 2],
      [1, 1],
    ]);
    const offset = random.weighted([
      [14, random.pick(REGISTERS)],
      [3, random.below(64)],
      [1, random.below(4096)],
      [1, 4096 - size],
      [1, 4096 - random.below(8)],
    ]);
    const address = target.base + BigInt(offset);
    yield random.percent(50)
      ? { kind: 'read', size, address }
      : { kind: 'write', size, address, value: value(random, size) };
  }
}

function value(random: Random, size: Size): bigint {
  const any = random.weighted([
    [3, BigInt(random.below(16))],
    [2, 1n << BigInt(random.below(64))],
    [1, (1n << BigInt(random.below(65))) - 1n],
    [2, random.long()],
  ]);
  return any & ((1n << BigInt(8 * size)) - 1n);
}

function* rings({ random, targets }: World, target: Target): Generator<Operation> {
  const own = targets.map(({ base }) => base);
  yield* ring(random, target.base, own);
}

/** A tail out of the blue. */
function* doorbell({ random }: World, { base }: Target): Generator<Operation> {
  const tail = random.weighted([
    [4, BigInt(random.below(300))],
    [2, value(random, 4)],
    [1, 0xffffffffn],
  ]);
  yield { kind: 'write', size: 4, address: base + 0x2cn, value: tail };
}

function* control({ random }: World, { base }: Target): Generator<Operation> {
  const run = random.weighted([
    [4, 0n],
    [4, 1n],
    [1, value(random, 4)],
  ]);
  yield { kind: 'write', size: 4, address: base + 0x1cn, value: run };
}

function* interrupts({ random }: World, { base }: Target): Generator<Operation> {
  yield { kind: 'write', size: 4, address: base + 0x18n, value: BigInt(random.below(8)) };
  if (random.percent(60))
    yield { kind: 'write', size: 4, address: base + 0x14n, value: BigInt(random.below(4)) };
}

/** MSI turned on and off, with messages to anywhere. */
function* messages({ random, targets }: World, target: Target): Generator<Operation> {
  const { bus, slot } = target;
  const own = targets.map(({ base }) => base);
  const to = random.percent(50) ? PLACES.apic : addressOf(random, own);
  const fields: (readonly [number, bigint, 2 | 4])[] = [
    [4, to & 0xffffffffn, 4],
    [8, random.percent(80) ? 0n : to >> 32n, 4],
    [12, BigInt(random.below(0x10000)), 2],
    [2, random.percent(70) ? 1n : BigInt(random.below(0x10000)), 2],
  ];
  for (const [at, field, size] of fields) {
    if (random.percent(15)) continue;
    yield { kind: 'config-write', bus, slot, offset: CAPABILITY + at, size, value: Number(field) };
  }
}

/** Memory and bus mastering taken away, most often for a while only. */
function* commandBits(world: World, target: Target): Generator<Operation> {
  const { random } = world;
  const { bus, slot } = target;
  const command = { kind: 'config-write', bus, slot, offset: COMMAND, size: 2 } as const;
  const bits = random.weighted([
    [3, 2],
    [2, 4],
    [2, 0],
    [1, random.below(0x10000)],
  ]);
  yield { ...command, value: bits };
  if (random.percent(50)) yield { kind: 'wait' };
  if (random.percent(60)) yield* pokes(world, target);
  if (random.percent(90)) yield { ...command, value: WORKING };
}

/** The BAR put somewhere else: free, onto memory, onto another device, past the end. */
function* moved(world: World, target: Target): Generator<Operation> {
  const { random } = world;
  const before = target.base;
  const strange: bigint[] = [0n, 0x1000n, RAM - 0x1000n, PLACES.apic, PLACES.ioapic, 0xfffff000n, 0xa0000n];
  const place = random.percent(50)
    ? windowOf(target) + BigInt(random.below(16)) * 0x1000n
    : random.pick(strange as [bigint, ...bigint[]]);
  yield* move(target, place);
  yield* pokes(world, target);
  if (place < RAM || random.percent(60)) yield* move(target, before);
}

function* anyConfig({ random }: World, { bus, slot }: Target): Generator<Operation> {
  const size = random.pick([1, 2, 4] as const);
  const offset = random.percent(60) ? 4 * random.below(24) : random.below(256);
  const place = { bus, slot, offset: offset - (offset % size), size };
  if (random.percent(50)) yield { kind: 'config-read', ...place };
  else if (place.offset < BAR0 || place.offset >= BAR0 + 4) {
    yield { kind: 'config-write', ...place, value: Number(value(random, size)) };
  }
}

function* clock({ random }: World): Generator<Operation> {
  yield { kind: 'clock', ns: random.pick([1, 1000, 1_000_000, 100_000_000]) };
}

/** The machine stands still for a while, and registers are accessed all the same. */
function* stopped(world: World, target: Target): Generator<Operation> {
  yield { kind: 'stop' };
  yield* rings(world, target);
  if (world.random.percent(50)) yield* pokes(world, target);
  yield { kind: 'cont' };
}

/** A reset takes the addresses away; the devices are most often set up again. */
function* reset(world: World, target: Target): Generator<Operation> {
  yield { kind: 'reset' };
  if (world.random.percent(30)) yield* pokes(world, target);
  yield* setUp(world);
}

/** The secondary bus of the bridge is reset, and what is on it. */
function* busReset({ targets }: World): Generator<Operation> {
  const control = { kind: 'config-write', bus: 0, slot: BRIDGE, offset: 0x3e, size: 2 } as const;
  yield { ...control, value: 0x40 };
  yield { ...control, value: 0 };
  for (const target of targets) if (target.bus !== 0) yield* map(target);
}

/** Only what is not behind the bridge lets itself be unplugged without a controller for that. */
function* replug({ random, targets }: World): Generator<Operation> {
  const target = targets.find(({ bus }) => bus === 0);
  if (target === undefined) return;
  if (target.plugged) yield { kind: 'unplug', device: target.index };
  target.plugged = false;
  if (random.percent(40)) return;
  yield* plug(target);
}

function* migrate({ random, targets }: World): Generator<Operation> {
  for (const target of targets) if (!target.plugged) yield* plug(target);
  if (random.percent(50)) yield { kind: 'stop' };
  yield { kind: 'migrate' };
  yield { kind: 'cont' };
}

function* plug(target: Target): Generator<Operation> {
  yield { kind: 'plug', device: target.index };
  target.plugged = true;
  yield* map(target);
}

/** Slot of the bridge on bus 0, and the bus behind it. */
export const BRIDGE = 6;
export const BRIDGED_BUS = 1;

/** Windows for BARs in the PCI hole of the `pc` machine: on bus 0, and behind the bridge. */
const WINDOWS = [0xe0000000n, 0xe1000000n] as const;

function windowOf({ bus, slot }: Pick<Target, 'bus' | 'slot'>): bigint {
  return (bus === 0 ? WINDOWS[0] : WINDOWS[1]) + BigInt(slot) * 0x10000n;
}

/** A device at its place, plugged in. */
export function targetAt(index: number, bus: number, slot: number): Target {
  return { index, bus, slot, base: windowOf({ bus, slot }), plugged: true };
}

/** Bus numbers, the window for memory (1 MiB), and the bridge turned on (PCI-to-PCI Bridge 1.2, 3.2.5). */
function* bridge(): Generator<Operation> {
  const at = { kind: 'config-write', bus: 0, slot: BRIDGE } as const;
  yield { ...at, offset: 0x18, size: 4, value: (BRIDGED_BUS << 16) | (BRIDGED_BUS << 8) };
  const megabyte = Number(WINDOWS[1] >> 16n) & 0xfff0;
  yield { ...at, offset: 0x20, size: 4, value: ((megabyte << 16) | megabyte) >>> 0 };
  yield { ...at, offset: COMMAND, size: 2, value: WORKING };
}

function* map(target: Target): Generator<Operation> {
  const { bus, slot } = target;
  yield* move(target, windowOf(target));
  yield { kind: 'config-write', bus, slot, offset: COMMAND, size: 2, value: WORKING };
}

function* move(target: Target, address: bigint): Generator<Operation> {
  const { bus, slot } = target;
  target.base = address;
  yield { kind: 'config-write', bus, slot, offset: BAR0, size: 4, value: Number(address) };
}
