import { describe, expect, test } from 'vitest';
import type { Report } from '../../src/grade/report.js';
import { noQemuLeft, useCli } from './cli.js';

const { lab, state } = useCli();
const LAB = 'virtblkiosim';

/** Debian's kernel has no driver of a root device built in, so each profile's way to its disk and network is taken. */
describe.each(['fast', 'course'])('Debian’s kernel and the system’s QEMU, profile %s', (profile) => {
  const up = ['up', LAB, '--kernel', 'distro', '--profile', profile, '--name', 'distro'];

  test('boots, and status says what it is made of', async () => {
    const { code, stdout, stderr } = await lab(...up, '--json');
    expect(code, stderr).toBe(0);
    expect(stderr).not.toMatch(/QEMU source|Linux source|Build QEMU|Build Linux/);
    expect(JSON.parse(stdout)).toMatchObject({ profile, stage: 'running', started: true });
    const [machine] = JSON.parse((await lab('status', '--json')).stdout);
    expect(machine.made.qemu).toMatch(/^\d+\.\d+\.\d+, system: qemu-system-x86 /);
    expect(machine.made.linux).toMatch(/^\d\S*-amd64, debian: linux-image-\d\S*-amd64 \d/);
    const { stdout: release } = await lab('exec', '--', 'uname', '-r');
    expect(machine.made.linux).toContain(`linux-image-${release.trim()} `);
  });

  test('has the module inserted, and the kernel’s own within reach', async () => {
    const { stdout } = await lab(
      'exec',
      '--',
      'sh',
      '-c',
      'modprobe null_blk && cut -d" " -f1 /proc/modules',
    );
    expect(stdout.split('\n')).toEqual(expect.arrayContaining(['virtblkiosim', 'null_blk', 'ext4']));
  });

  test('runs on when nothing has changed, and shuts down when told to', async () => {
    expect(JSON.parse((await lab(...up, '--json')).stdout)).toMatchObject({ started: false });
    if (profile === 'fast') await checksPass();
    expect(await lab('down')).toMatchObject({ code: 0, stdout: 'distro: shut down by its guest\n' });
    expect(await noQemuLeft(state())).toBe(true);
  });
});

async function checksPass(): Promise<void> {
  const { stdout, stderr } = await lab('test', LAB, '--name', 'distro', '--json');
  const report = JSON.parse(stdout) as Report;
  const bad = report.checks.filter(({ outcome }) => outcome !== 'passed' && outcome !== 'skipped');
  expect(bad, stderr).toEqual([]);
  expect(report.checks.some(({ outcome }) => outcome === 'passed')).toBe(true);
}

test('a lab for which it will not do says why', async () => {
  const { code, stderr } = await lab('up', 'my-rng', '--kernel', 'distro');
  expect(code).toBe(2);
  expect(stderr).toContain('major number 250');
});
