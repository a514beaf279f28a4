import { spawnSync } from 'node:child_process';
import { cp, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { findTrouble } from '../../src/console/kernel-log.js';
import type { Report } from '../../src/grade/report.js';
import { root, useCli } from './cli.js';

const { lab, state } = useCli();
const options = ['--profile', 'kasan', '--accel', 'tcg'];

/** A second kernel takes as long to build as the first, and runs slowly: every night, not with every change. */
const skipped = process.env.LAB_TEST_KASAN === undefined;

/** The lane has to see what is wrong before it may say that nothing is. */
describe.skipIf(skipped)('a kernel with KASAN, lockdep and kmemleak (LAB_TEST_KASAN=1)', () => {
  beforeAll(async () => {
    const { code, stderr } = await lab('up', 'kernel-modules', '--name', 'kasan', ...options);
    expect(code, stderr).toBe(0);
    const dir = join(state(), 'faulty');
    await cp(join(root, 'test/fixtures/kasan'), dir, { recursive: true });
    const script = await readFile(join(state(), 'machines/kasan/qemu.sh'), 'utf8');
    const kbuild = join(dirname(/ -kernel (\S+)/.exec(script)?.[1] ?? ''), 'kbuild');
    const built = spawnSync('make', ['-C', kbuild, `M=${dir}`, 'modules'], { encoding: 'utf8' });
    expect(built.status, built.stderr).toBe(0);
    expect(await lab('cp', join(dir, 'faulty.ko'), ':/tmp/')).toMatchObject({ code: 0 });
  });

  const guest = async (script: string) => (await lab('exec', '--', 'sh', '-c', script)).stdout;
  const fault = (what: string) => guest(`insmod /tmp/faulty.ko what=${what} && rmmod faulty && dmesg`);

  // in this order: each of lockdep and KASAN reports once, and neither does after the other's worst
  test('tells of locks taken in an order that can end in a deadlock', async () => {
    await expectTrouble('locks', 'lockdep', /circular locking/);
  });

  test('finds memory that nothing points to', async () => {
    await fault('leak');
    const leaks = await guest(
      [
        'mount -t debugfs none /sys/kernel/debug 2>/dev/null',
        // an object counts from its fifth second on
        'sleep 6; echo scan > /sys/kernel/debug/kmemleak; echo scan > /sys/kernel/debug/kmemleak',
        'cat /sys/kernel/debug/kmemleak',
      ].join('\n'),
    );
    expect(leaks).toMatch(/^unreferenced object .* \(size 4096\)/m);
  });

  test('tells of memory that is used after it was freed', async () => {
    await expectTrouble('use-after-free', 'kasan', /use-after-free in touch/);
    expect(await lab('down', '--force')).toMatchObject({ code: 0 });
  });

  async function expectTrouble(what: string, kind: string, says: RegExp): Promise<void> {
    const log = await fault(what);
    const found = findTrouble(log.split('\n')).find((report) => report.kind.includes(kind));
    expect(found?.lines.join('\n'), log).toMatch(says);
  }
});

describe
  .skipIf(skipped)
  .each([['kernel-modules'], ['virtblkiosim'], ['my-rng'], ['my-rng', '--variant', 'further']])(
  '%s %s %s (LAB_TEST_KASAN=1)',
  (...words) => {
    test('is clean on such a kernel', async () => {
      const { code, stdout, stderr } = await lab('test', ...words, ...options, '--json');
      const { checks } = JSON.parse(stdout) as Report;
      expect(
        checks.filter(({ outcome }) => outcome !== 'passed' && outcome !== 'skipped'),
        stderr,
      ).toEqual([]);
      expect(checks.filter(({ outcome }) => outcome === 'passed').length).toBeGreaterThan(15);
      expect(code).toBe(0);
    });
  },
);
