import { createHash } from 'node:crypto';
import { type Check, type CheckContext, CheckFailure, expectEqual } from '../../../../lab/check.js';
import { type Counters, countedSince, countersOf } from '../counters.js';
import { FURTHER_DEVICES, type FurtherDevice, INTX, MSI } from '../devices.js';
import { PATHS, type PathName, resultOf, runFurther } from '../probe.js';
import { sequenceBytes } from '../sequences.js';

/** Bytes that one transfer can bring. */
const WHOLE = 64 * 1024;

const EACH_PATH = ['narrow', 'wide', 'bulk', 'auto'] as const;

/** How the bytes of `read()` come out of the device. */
export const pathChecks: readonly Check[] = [
  ...[MSI, INTX].map((device) => ({
    id: `paths-${device.interrupt.toLowerCase()}`,
    title: `${device.interrupt}: 64 KiB by each path are the sequence of the seed, and the device saw that path`,
    deadline: 15_000,
    run: (context: CheckContext) => paths(context, device),
  })),
  {
    id: 'odd-lengths',
    title: 'reads of any length, one after another, give every byte of the sequence once',
    deadline: 20_000,
    run: oddLengths,
  },
  {
    id: 'algorithms',
    title: 'each device gives the sequence of its own algorithm, whatever the path and the seed',
    deadline: 20_000,
    run: algorithms,
  },
];

/** What the device counts for 64 KiB, beside the seed. */
const EXPECTED: Readonly<Record<PathName, Partial<Counters>>> = {
  narrow: { reads: WHOLE / 4, 'wide-reads': 0, 'bulk-descriptors': 0, interrupts: 0 },
  wide: { reads: 0, 'wide-reads': WHOLE / 8, 'bulk-descriptors': 0, interrupts: 0 },
  bulk: { reads: 0, 'wide-reads': 0, 'bulk-descriptors': 1, 'bulk-bytes': WHOLE, interrupts: 1 },
  auto: { reads: 0, 'wide-reads': 0, 'bulk-descriptors': 1, 'bulk-bytes': WHOLE, interrupts: 1 },
};

async function paths(context: CheckContext, device: FurtherDevice): Promise<void> {
  for (const [i, path] of EACH_PATH.entries()) {
    const seed = context.nonce.readUInt32LE(4 * i);
    const before = await countersOf(context, device.id);
    await expectRead(context, device, { path, seed, bytes: WHOLE, chunk: WHOLE });
    const counted = countedSince(before, await countersOf(context, device.id));
    for (const [name, expected] of Object.entries({ ...EXPECTED[path], seeds: 1 })) {
      const what = `what ${device.id} counted as ${name} for 64 KiB by the path ${path}`;
      expectEqual(what, counted[name as keyof Counters], expected);
    }
    context.prove(`${path}: the 64 KiB of seed ${seed}; the device counted ${describe(counted)}`);
  }
}

function describe(counted: Counters): string {
  const named = Object.entries(counted).filter(([, count]) => count > 0);
  return named.map(([name, count]) => `${count} ${name}`).join(', ');
}

async function oddLengths(context: CheckContext): Promise<void> {
  const bytes = 70_001;
  for (const [path, chunk] of [
    ['narrow', 5],
    ['wide', 7],
    ['wide', 1023],
    ['bulk', 4099],
    ['bulk', bytes],
    ['auto', 1],
    ['auto', 2047],
  ] as const) {
    const seed = context.nonce.readUInt32LE(chunk % 20);
    await expectRead(context, MSI, { path, seed, bytes, chunk });
    context.prove(`${path}, ${chunk} bytes at a time: ${bytes} bytes of seed ${seed}`);
  }
}

async function algorithms(context: CheckContext): Promise<void> {
  for (const device of FURTHER_DEVICES) {
    const seeds = [0, 0x42, 0xffffffff, context.nonce.readUInt32LE(24)];
    for (const [i, seed] of seeds.entries()) {
      const path = EACH_PATH[i] ?? 'auto';
      await expectRead(context, device, { path, seed, bytes: 8192, chunk: 8192 });
    }
    context.prove(`${device.node}: ${device.algorithm} from the seeds ${seeds.join(', ')}`);
  }
}

export interface Reading {
  readonly path: PathName;
  readonly seed: number;
  readonly bytes: number;
  /** Most bytes of one call of `read()`. */
  readonly chunk: number;
}

/** Seeds, reads and compares with what the host computes. @throws CheckFailure */
export async function expectRead(
  context: CheckContext,
  { node, algorithm }: FurtherDevice,
  { path, seed, bytes, chunk }: Reading,
): Promise<void> {
  const words = ['read', node, PATHS[path], seed, bytes, chunk, 'numbers'];
  const look = 'sha256sum numbers; head -c 20 numbers | od -An -tu4 | tr "\\n" " "; rm numbers';
  const { events, rest } = await runFurther(context, words, look);
  expectEqual(`the bytes read by the path ${path}`, resultOf(events, 'read'), bytes);
  const data = sequenceBytes(algorithm, seed, bytes);
  const [digest = '', seen = ''] = rest.split('  numbers\n');
  if (digest === createHash('sha256').update(data).digest('hex')) return;
  const first = [0, 4, 8, 12, 16].filter((at) => at + 4 <= bytes).map((at) => data.readUInt32LE(at));
  throw new CheckFailure(`what the path ${path} of ${node} gave is not the sequence of seed ${seed}`, [
    `the first numbers, expected: ${first.join(' ')}`,
    `the first numbers, actual:   ${seen.trim().split(/\s+/).join(' ')}`,
  ]);
}
