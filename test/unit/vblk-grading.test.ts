import { describe, expect, test } from 'vitest';
import { listFixtures } from '../../src/grade/fixture.js';
import { readSources } from '../../src/grade/fixture-sources.js';
import { loadGradingOf } from '../../src/grade/load-grading.js';
import { codeFiles, deviceEntries } from '../../src/intake/device-files.js';
import { bytesOf, deadbeefAt, numbersOf } from '../../src/labs/vblk/grading/data.js';
import { rules } from '../../src/labs/vblk/grading/rules.js';
import { exportNamed } from '../../src/nbd/device-of.js';

const DEVICE = 'export default class { blockSize() {} blocks() {} read() {} }';

/** What stands for what, as `name: device`, for files of these names and texts. */
function found(files: Readonly<Record<string, string>>): string[] {
  const handed = Object.entries(files).map(([name, text]) => ({ name, data: Buffer.from(text) }));
  return deviceEntries(codeFiles(handed), rules).entries.map(
    ({ file, device }) => `${file.name}: ${device ?? '?'}`,
  );
}

describe('devices of a hand-in', () => {
  test('are told by the names of files', () => {
    const files = { 'a/dead_beef.js': DEVICE, 'a/RamDisk.mts': DEVICE, 'a/ramdisk.test.ts': DEVICE };
    expect(found(files)).toEqual(['a/dead_beef.js: deadbeef', 'a/RamDisk.mts: ramdisk']);
  });

  test('are told by what a file exports, also two of one file', () => {
    const both = 'export class DeadBeef {}\nclass Disk {}\nexport { Disk as RamDisk };';
    expect(found({ 'disks.ts': both })).toEqual(['disks.ts: deadbeef', 'disks.ts: ramdisk']);
    expect(found({ 'disks.ts': 'class RamDisk {}' })).toEqual([]);
  });

  test('may have no names, and are no files that others import', () => {
    const main = `import { x } from './util/base.js';\n${DEVICE}`;
    expect(found({ 'm.ts': main, 'util/base.ts': DEVICE, 'note.ts': 'export const x = 1;' })).toEqual([
      'm.ts: ?',
    ]);
    expect(found({ 'a.ts': DEVICE, 'b.ts': DEVICE, 'c.ts': DEVICE })).toEqual(['a.ts: ?', 'b.ts: ?']);
  });

  test('are the sources where what was made of them is there as well', () => {
    expect(found({ 'dist/ramdisk.js': DEVICE, 'src/ramdisk.ts': DEVICE })).toEqual([
      'src/ramdisk.ts: ramdisk',
    ]);
    expect(found({ 'dist/ramdisk.js': DEVICE })).toEqual(['dist/ramdisk.js: ramdisk']);
  });

  test('are said where one of several was chosen', () => {
    const files = ['ramdisk.ts', 'old/ramdisk.ts'].map((name) => ({ name, text: DEVICE }));
    expect(deviceEntries(files, rules).changes).toEqual([
      'ramdisk.ts was left aside: old/ramdisk.ts is the ramdisk',
    ]);
  });
});

test('the export that is meant is the one whose name says so', () => {
  class Disk {
    read() {}
  }
  const module = { RAMDISK_SIZE: 4, makeRamDisk: () => new Disk(), default: class Ramdisk extends Disk {} };
  expect(exportNamed(module, 'ram')).toEqual({ default: module.default });
  expect(exportNamed({ makeRamDisk: module.makeRamDisk, x: 1 }, 'ram')).toEqual({
    default: module.makeRamDisk,
  });
  expect(exportNamed({ ram: 1 }, 'ram')).toEqual({ ram: 1 });
  expect(exportNamed(module, '')).toBe(module);
});

test('data for checks follows from the nonce', () => {
  const nonce = Buffer.alloc(64, 1);
  expect(bytesOf(nonce, 'a', 8)).toEqual(bytesOf(nonce, 'a', 8));
  expect(bytesOf(nonce, 'a', 8)).not.toEqual(bytesOf(nonce, 'b', 8));
  expect(Math.max(...numbersOf(nonce, 'n', 1000, 7))).toBe(6);
  expect(deadbeefAt(6, 5).toString('hex')).toBe('beefdeadbe');
});

describe('the fixtures of vblk', async () => {
  const fixtures = await listFixtures('vblk');
  const { lines, golden } = await loadGradingOf('vblk');

  test('name an outcome for each line; the golden one is there', () => {
    for (const { name, expect: expected } of fixtures)
      expect(Object.keys(expected).sort(), name).toEqual(lines.map(({ id }) => id).sort());
    expect(fixtures.find(({ name }) => name === golden)?.kind).toBe('good');
  });

  test.each(fixtures.map((fixture) => [fixture.name, fixture] as const))(
    '%s can be made',
    async (_, fixture) => {
      expect((await readSources(fixture)).size).toBeGreaterThanOrEqual(2);
    },
  );
});
