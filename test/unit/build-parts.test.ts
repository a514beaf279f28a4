import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { countFinished, dropUnfinished } from '../../src/build/kbuild-repair.js';
import { isAtLeast } from '../../src/build/meson.js';
import { namesIn } from '../../src/build/patch.js';
import { deviceConfig } from '../../src/build/qemu-devices.js';
import { missingTools, packagesOf, TOOLS } from '../../src/build/tools.js';
import { scaled } from '../../src/timeouts.js';
import { useTempFolder } from '../support/temp.js';

const temp = useTempFolder();

async function put(path: string, text: string, seconds?: number): Promise<void> {
  const full = join(temp.path, path);
  await mkdir(dirname(full), { recursive: true });
  await writeFile(full, text);
  if (seconds !== undefined) await utimes(full, seconds, seconds);
}

describe('isAtLeast', () => {
  it.each([
    ['1.5.0', '1.5', true],
    ['1.5', '1.5.0', true],
    ['1.10.0', '1.5.0', true],
    ['1.0.1', '1.5.0', false],
    ['1.5.0.rc1', '1.5.0', true],
    ['0', '0.63', false],
  ])('%s against %s: %s', (a, b, expected) => {
    expect(isAtLeast(a, b)).toBe(expected);
  });
});

describe('namesIn', () => {
  it('reads names of every kind of patch, at any depth', () => {
    const text = [
      'diff --git a/x/old.c b/x/new.c',
      'rename from x/old.c',
      'rename to x/new.c',
      '--- a/hw/misc/Kconfig\t2024-01-01 00:00:00.000 +0000',
      '+++ b/hw/misc/Kconfig',
      '--- /dev/null',
    ].join('\n');
    expect(namesIn(text, 1)).toEqual(['x/old.c', 'x/new.c', 'hw/misc/Kconfig', 'dev/null']);
    expect(namesIn('+++ /home/me/qemu/hw/misc/x.c\n', 4)).toEqual(['hw/misc/x.c']);
  });

  it('leaves names outside of the tree alone', () => {
    expect(namesIn('--- a/../../etc/passwd\n+++ b//etc/passwd\n', 1)).toEqual([]);
  });
});

describe('deviceConfig', () => {
  it('turns off what exists and what nothing else selects', async () => {
    await put('q/Kconfig.host', '');
    await put(
      'q/hw/net/Kconfig',
      'config TULIP\n    bool\n\nconfig ROCKER\n    bool\n\nconfig E1000_PCI\n    bool\n',
    );
    await put('q/hw/arm/Kconfig', 'config BOARD\n    bool\n    select ROCKER\n');
    for (const folder of ['target', 'accel', 'backends', 'semihosting']) await put(`q/${folder}/Kconfig`, '');
    expect(await deviceConfig(join(temp.path, 'q'))).toBe('include default.mak\nCONFIG_TULIP=n\n');
  });
});

describe('dropUnfinished', () => {
  it('removes objects newer than their record, and what was written last', async () => {
    const long = 1_600_000_000;
    await put('k/a/good.o', '', long);
    await put('k/a/.good.o.cmd', '', long + 1);
    await put('k/a/cut.o', '', long + 50);
    await put('k/a/.cut.o.cmd', '', long);
    await put('k/a/last.o', '', long + 99);
    await put('k/a/.last.o.cmd', '', long + 100);
    await put('k/a/first-time.o', '', long + 100);
    await put('k/.config', '', long + 100);
    expect(await countFinished(join(temp.path, 'k'))).toBe(3);
    await dropUnfinished(join(temp.path, 'k'));
    expect(await countFinished(join(temp.path, 'k'))).toBe(1);
    expect((await readdir(join(temp.path, 'k/a'))).sort()).toEqual(['.good.o.cmd', 'first-time.o', 'good.o']);
    expect(await readdir(join(temp.path, 'k'))).toContain('.config');
  });
});

describe('tools', () => {
  it('has one entry for each thing, and a package for each', () => {
    const checks = TOOLS.map(({ check }) => JSON.stringify(check));
    expect(new Set(checks).size).toBe(checks.length);
    expect(packagesOf(TOOLS).every((name) => /^[a-z0-9][a-z0-9+.-]+$/.test(name))).toBe(true);
  });

  it('finds out what is missing', async () => {
    const before = process.env.PATH;
    try {
      process.env.PATH = join(temp.path, 'empty');
      const missing = await missingTools(['linux'], { timeouts: scaled(1) });
      expect(packagesOf(missing)).toContain('flex');
    } finally {
      process.env.PATH = before;
    }
  });
});
