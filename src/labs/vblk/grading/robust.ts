import { CheckFailure } from '../../../lab/check.js';
import { backendOf } from '../../../nbd/aligned.js';
import { bytesOf, expectData, MIB, numbersOf, readPart } from './data.js';
import type { DeviceCheck, Scene } from './device-check.js';

const common = { line: 'robust', devices: ['deadbeef', 'ramdisk'] } as const;

/** Of both devices, as far as they are there. */
export const robustDeviceChecks: readonly DeviceCheck[] = [
  {
    ...common,
    id: 'odd-sizes',
    title: 'requests of any size at any byte, which the server makes whole blocks of, get the right bytes',
    run: takesOddSizes,
  },
  {
    ...common,
    id: 'many-at-once',
    title: 'of 100 requests at the same time each gets its own answer',
    run: takesManyAtOnce,
  },
  {
    ...common,
    id: 'survives-errors',
    title: 'requests that have to fail do not end the device, and change nothing',
    run: survivesErrors,
  },
];

/** All of the device that the checks of this file touch. */
const PART = MIB;

/** What the first bytes are: put there where that can be, so that no two blocks are the same. */
async function prepared({ device, name, nonce }: Scene): Promise<Buffer> {
  if (device.blockSize() * device.blocks() < PART)
    throw new CheckFailure(`the device has fewer than ${PART} bytes`);
  if (name === 'deadbeef' || device.write === undefined) return await readPart(device, 0, PART);
  const data = bytesOf(nonce, 'start', PART);
  await device.write(0, Buffer.from(data));
  return data;
}

async function takesOddSizes(scene: Scene): Promise<void> {
  const { device, nonce, prove } = scene;
  const model = await prepared(scene);
  const backend = backendOf(device);
  const writes = scene.name === 'ramdisk' && !backend.readOnly;
  const lengths = [1, 2, 3, 511, 513, 1023, 1025, 4095, 4097, ...numbersOf(nonce, 'odd lengths', 30, 9000)];
  const starts = numbersOf(nonce, 'odd starts', lengths.length, PART - 9001);
  for (const [i, start] of starts.entries()) {
    const data = bytesOf(nonce, `odd ${i}`, (lengths[i] ?? 0) + 1);
    if (writes) {
      await backend.write(0, start, data);
      data.copy(model, start);
    }
    const back = Buffer.alloc(data.length);
    await backend.read(0, start, back);
    expectData(`a read of ${data.length} bytes`, back, model.subarray(start, start + data.length), start);
  }
  expectData('the device after them', await readPart(device, 0, PART), model, 0);
  const kinds = writes ? 'writes and reads' : 'reads';
  prove(`${lengths.length} ${kinds} of 1 to 9000 bytes: each byte as expected`);
}

const AT_ONCE = 100;

async function takesManyAtOnce(scene: Scene): Promise<void> {
  const { device, nonce, prove } = scene;
  const model = await prepared(scene);
  const block = device.blockSize();
  const slot = Math.floor(PART / block / AT_ONCE) || 1;
  const all = Array.from({ length: Math.min(AT_ONCE, PART / block) }, (_, i) => {
    const length = ((i % Math.min(slot, 4)) + 1) * block;
    return { from: i * slot * block, length, data: bytesOf(nonce, `many ${i}`, length) };
  });
  const write = scene.name === 'deadbeef' ? undefined : device.write?.bind(device);
  if (write !== undefined) {
    await Promise.all(all.map(async ({ from, data }) => write(from, Buffer.from(data))));
    for (const { from, data } of all) data.copy(model, from);
  }
  const read = await Promise.all(
    all.map(async ({ from, length }) => {
      const buffer = Buffer.alloc(length);
      await device.read(from, buffer);
      return buffer;
    }),
  );
  const hint = 'keep what belongs to a request in variables of its own, not in the object';
  for (const [i, { from, length }] of all.entries())
    expectData('an answer', read[i] as Buffer, model.subarray(from, from + length), from, hint);
  prove(`${all.length} ${write === undefined ? 'reads' : 'writes, then reads,'} at the same time: all right`);
}

/** The server refuses such requests itself; a device gets to see them when a client and it disagree about its size. */
async function survivesErrors(scene: Scene): Promise<void> {
  const { device, prove } = scene;
  const model = await prepared(scene);
  const block = device.blockSize();
  const end = block * device.blocks();
  const failed: string[] = [];
  const tried: readonly [string, () => Promise<unknown> | unknown][] = [
    ['read after the end', () => device.read(end, Buffer.alloc(block))],
    ['read far after the end', () => device.read(end + 2 ** 40, Buffer.alloc(8 * block))],
    ['read over the end', () => device.read(end - block, Buffer.alloc(2 * block))],
    ['write after the end', () => device.write?.(end, Buffer.alloc(block, 'x'))],
  ];
  for (const [what, attempt] of tried) {
    await Promise.resolve()
      .then(attempt)
      .catch(() => failed.push(what));
  }
  const now = await readPart(device, 0, PART);
  expectData('the device after requests outside of it', now, model, 0);
  prove(`after requests outside of it (${failed.length} of ${tried.length} failed) it answers as before`);
}
