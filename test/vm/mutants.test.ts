import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Report } from '../../src/grade/report.js';
import { root, useCli } from './cli.js';

const { lab, state } = useCli();
const FAST = ['--profile', 'fast', '--name', 'mutant', '--yes'];

/** A patch that adds the lab's device, but neither to Kconfig nor to meson.build: its file is never built. */
async function incompletePatch(): Promise<string> {
  const source = await readFile(join(root, 'patches/my-rng/device/my-rng.c'), 'utf8');
  const lines = source.trimEnd().split('\n');
  const file = join(state(), 'device.patch');
  const head = ['--- /dev/null', '+++ b/hw/misc/my-rng.c', `@@ -0,0 +1,${lines.length} @@`];
  await writeFile(file, `${[...head, ...lines.map((line) => `+${line}`)].join('\n')}\n`);
  return file;
}

describe('what is wrong is seen', () => {
  test('a device that is never built is named, with what the patch lacks', async () => {
    const { code, stderr } = await lab('up', ...FAST, '--qemu-patch', await incompletePatch());
    expect(code).toBe(2);
    expect(stderr).toContain('no device my_rng');
    expect(stderr).toContain('meson.build');
  });

  test('a patch that does not apply is refused with the file that it is about', async () => {
    const file = join(state(), 'bad.patch');
    const hunk = [
      '--- a/hw/misc/meson.build',
      '+++ b/hw/misc/meson.build',
      '@@ -1,2 +1,3 @@',
      ' no such line',
      '+x',
      ' nor this',
    ];
    await writeFile(file, `${hunk.join('\n')}\n`);
    const { code, stderr } = await lab('up', ...FAST, '--qemu-patch', file);
    expect(code).toBe(2);
    expect(stderr).toContain('hw/misc/meson.build');
  });

  test('a module that is not the lab’s fails its checks, and `up` puts the right one back', async () => {
    expect((await lab('up', ...FAST)).code).toBe(0);
    await writeFile(join(state(), 'not-a-module.ko'), 'this is no module');
    expect((await lab('cp', join(state(), 'not-a-module.ko'), ':/opt/lab/my_rng.ko')).code).toBe(0);
    const { code, stdout } = await lab('test', '--name', 'mutant', '--json');
    expect(code).toBe(1);
    const outcomes = Object.fromEntries((JSON.parse(stdout) as Report).checks.map((c) => [c.id, c.outcome]));
    expect(outcomes).toMatchObject({ insmod: 'failed', 'pci-bar': 'passed', reload: 'blocked' });
    expect((await lab('down')).code).toBe(0);
    expect((await lab('up', ...FAST)).code).toBe(0);
    expect((await lab('test', '--name', 'mutant', '--filter', 'insmod')).code).toBe(0);
  });
});
