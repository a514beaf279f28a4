import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Report } from '../../src/grade/report.js';
import type { Finding, FuzzReport } from '../../src/lab/fuzz.js';
import { fuzz } from '../../src/labs/my-rng/fuzz.js';
import { scaled } from '../../src/timeouts.js';
import {
  DEVICE_FOLDER,
  DEVICE_SOURCE,
  deviceType,
  findBuiltTree,
  linkVariants,
} from '../support/device-qemu.js';
import { variantSource } from '../support/device-variants.js';
import { longPiece, plantedBugs } from '../support/planted-bugs.js';
import { useTempFolder } from '../support/temp.js';
import { useCli } from './cli.js';

const { lab } = useCli();

/** A fuzz of this long finds nothing in our device, and each planted mistake within it. */
const SECONDS = 60;

describe('our device under sanitizers', () => {
  test('survives a fuzz of a minute, having done all that it can do', async () => {
    const { code, stdout, stderr } = await lab(
      'fuzz',
      'my-rng',
      '--seconds',
      String(SECONDS),
      '--json',
      '--yes',
    );
    const report = JSON.parse(stdout) as FuzzReport;
    expect(report.finding, stderr).toBeUndefined();
    expect(code).toBe(0);
    expect(report.operations).toBeGreaterThan(20_000);
    for (const counter of ['reads', 'wide-reads', 'bulk-descriptors', 'bulk-bytes', 'interrupts']) {
      expect(report.counters[counter], counter).toBeGreaterThan(0);
    }
    expect(report.devices).toEqual(
      expect.arrayContaining([expect.stringContaining('msi=off'), expect.stringContaining('extended=on')]),
    );
  });

  test('passes the checks of the lab', async () => {
    const { code, stdout, stderr } = await lab('test', '--profile', 'sanitized', '--accel', 'tcg', '--json');
    const { checks } = JSON.parse(stdout) as Report;
    const bad = checks.filter(({ outcome }) => outcome !== 'passed' && outcome !== 'skipped');
    expect(bad, stderr).toEqual([]);
    expect(checks.filter(({ outcome }) => outcome === 'passed').length).toBeGreaterThan(15);
    expect(code).toBe(0);
  });
});

describe('a mistake planted in the device', () => {
  const folder = useTempFolder();
  let qemu: Parameters<typeof fuzz>[0]['qemu'];

  /** A QEMU with all these devices; only what differs is compiled. */
  async function link(shared: ReadonlyMap<string, string> = new Map()): Promise<void> {
    const tree = await findBuiltTree(true);
    if (tree === undefined) throw new Error('no QEMU with sanitizers in the cache, though one was just used');
    const reference = await readFile(DEVICE_SOURCE, 'utf8');
    const variants = Object.entries(plantedBugs).map(
      ([name, { edits }]) => [name, variantSource(reference, edits)] as const,
    );
    const binary = await linkVariants(tree, new Map(variants), folder.path, shared);
    const { dataDirs } = tree;
    qemu = { binary, dataDirs, img: '', version: '', digest: '', fresh: false, sanitized: true };
  }

  async function find(devices: readonly string[], seed = 1): Promise<Finding | undefined> {
    const { signal } = new AbortController();
    const names = [...Object.keys(plantedBugs), 'my-rng-ring'];
    const owner = { blame: 'user', files: names.map((name) => join(folder.path, `${name}.c`)) } as const;
    const request = { qemu, owner, devices, seed, time: 1000 * SECONDS, timeouts: scaled(1), signal };
    return (await fuzz({ ...request, onProgress: () => {} })).finding;
  }

  beforeAll(() => link());

  test.each(Object.entries(plantedBugs))(
    '%s is found, with the operations that lead to it',
    async (name, bug) => {
      const finding = await find([`${deviceType(name)}${bug.properties}`]);
      expect(finding?.fact).toMatch(bug.fact);
      expect(finding).toMatchObject({ repeats: true });
      expect(finding?.operations.length).toBeLessThan(40);
    },
  );

  test('a length that is not checked is found where bulk transfer uses it', async () => {
    const ring = await readFile(join(DEVICE_FOLDER, 'my-rng-ring.c'), 'utf8');
    await link(new Map([['my-rng-ring', variantSource(ring, [longPiece])]]));
    const finding = await find(['my_rng,extended=on']);
    expect(finding?.fact).toMatch(/AddressSanitizer: stack-buffer-overflow/);
    expect(finding?.blame).toBe('user');
    expect(await find(['my_rng,extended=on'], finding?.seed)).toMatchObject({ fact: finding?.fact });
  });
});
