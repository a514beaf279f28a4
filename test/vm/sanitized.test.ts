import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Fixture, listFixtures, makeHandIn } from '../../src/grade/fixture.js';
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
import { finished, qemuProcesses, said, useCli } from './cli.js';

const { lab, start, state } = useCli();

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

describe("a student's device", () => {
  test('is fuzzed as its patch has it, and charged to whoever asked for it', async () => {
    const patch = await studentPatch(state());
    const { code, stdout, stderr } = await lab('fuzz', '--qemu-patch', patch, '--seed', '9', '--json');
    const { finding, again } = JSON.parse(stdout) as FuzzReport & { again: string };
    expect(finding?.fact, stderr).toMatch(/null pointer of type .* in .* \(hw\/misc\/my-rng.c:\d+\)|SEGV in/);
    expect(finding).toMatchObject({ blame: 'user', repeats: true });
    expect(finding?.operations.join('\n')).toMatch(/read 1 bytes at 0xe[01]/);
    expect(again).toBe(`lab fuzz my-rng --seed ${finding?.seed} --qemu-patch ${patch}`);
    expect(code).toBe(1);
  });

  test('is left at once by Ctrl-C, and no QEMU stays', async () => {
    const others = new Set(qemuProcesses('chassis_nr=1'));
    const ours = () => qemuProcesses('chassis_nr=1').filter((pid) => !others.has(pid)).length;
    const child = start('fuzz', '--seconds', '600');
    await said(child, 'seed');
    await expect.poll(ours, { timeout: 60_000 }).toBe(1);
    child.kill('SIGINT');
    expect((await finished(child)).code).toBe(130);
    await expect.poll(ours, { timeout: 5_000 }).toBe(0);
  });
});

/** The device of the fixture that goes through a null pointer, as `git diff` has it. */
async function studentPatch(to: string): Promise<string> {
  const fixtures = await listFixtures('my-rng');
  const named = (name: string) => fixtures.find((fixture) => fixture.name === name) as Fixture;
  const form = named('git-diff');
  const { device } = form.layout.parts;
  const parts = device === undefined ? {} : { device };
  const { edits } = named('device-crash-1-byte');
  const tree = await findBuiltTree(true);
  const record = JSON.parse(await readFile(join(tree?.build ?? '', '../source.json'), 'utf8'));
  const made = await makeHandIn(
    { ...form, edits, layout: { ...form.layout, parts } },
    { qemu: record.tree },
    to,
    { signal: new AbortController().signal, timeouts: scaled(1) },
  );
  const names = await readdir(made, { recursive: true });
  const patch = names.find((name) => name.endsWith('.patch'));
  if (patch === undefined) throw new Error(`no patch among ${names.join(', ')}`);
  return join(made, patch);
}

describe('a mistake planted in the device', () => {
  let qemu: Parameters<typeof fuzz>[0]['qemu'];

  /** A QEMU with all these devices; only what differs is compiled. */
  async function link(shared: ReadonlyMap<string, string> = new Map()): Promise<void> {
    const tree = await findBuiltTree(true);
    if (tree === undefined) throw new Error('no QEMU with sanitizers in the cache, though one was just used');
    const reference = await readFile(DEVICE_SOURCE, 'utf8');
    const variants = Object.entries(plantedBugs).map(
      ([name, { edits }]) => [name, variantSource(reference, edits)] as const,
    );
    const binary = await linkVariants(tree, new Map(variants), state(), shared);
    const { dataDirs } = tree;
    qemu = { binary, dataDirs, img: '', version: '', digest: '', fresh: false, sanitized: true };
  }

  async function find(devices: readonly string[], seed = 1): Promise<Finding | undefined> {
    const { signal } = new AbortController();
    const names = [...Object.keys(plantedBugs), 'my-rng-ring'];
    const owner = { blame: 'user', files: names.map((name) => join(state(), `${name}.c`)) } as const;
    const request = { qemu, owner, devices, seed, time: 1000 * SECONDS, timeouts: scaled(1), signal };
    return (await fuzz({ ...request, onProgress: () => {} })).finding;
  }

  beforeAll(() => link());

  test.each(Object.entries(plantedBugs))(
    '%s is found, with the operations that lead to it',
    async (name, bug) => {
      const finding = await find([`${deviceType(name)}${bug.properties}`]);
      expect(finding?.fact).toMatch(bug.fact);
      if (bug.raced) return;
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
