import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Report } from '../../src/grade/report.js';
import { useCli } from './cli.js';

const { lab, state } = useCli();
const FAST = ['--profile', 'fast', '--name', 'mutant', '--yes'];

describe('what is wrong is seen', () => {
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
