import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Report } from '../../src/grade/report.js';
import { finished, noQemuLeft, said, useCli } from './cli.js';

const { lab, start, state } = useCli();

/** One machine from `up` to `down`; the tests of this file run in order and build on each other. */
describe('the life of a machine', () => {
  test('up builds what is needed and starts it', async () => {
    const { code, stdout, stderr } = await lab('up', '--name', 'spine', '--json', '--timing');
    expect(code, stderr).toBe(0);
    const record = JSON.parse(stdout);
    expect(record).toMatchObject({
      name: 'spine',
      lab: 'my-rng',
      profile: 'course',
      stage: 'running',
      started: true,
    });
    expect(record.made.linux).toMatch(/the exercise names 6\.6\.4|^6\.6\.4/);
  });

  test('up again finds it running', async () => {
    const { code, stdout } = await lab('up', '--name', 'spine', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ started: false });
  });

  test('all checks pass, each with proof', async () => {
    const junit = join(state(), 'junit.xml');
    const { code, stdout, stderr } = await lab('test', '--name', 'spine', '--json', '--junit', junit);
    const report = JSON.parse(stdout) as Report;
    const bad = report.checks.filter(({ outcome }) => outcome !== 'passed' && outcome !== 'skipped');
    expect(bad, stderr).toEqual([]);
    expect(code).toBe(0);
    const passed = report.checks.filter(({ outcome }) => outcome === 'passed');
    expect(passed.length).toBeGreaterThanOrEqual(20);
    for (const { id, proof } of passed) expect(proof.length, id).toBeGreaterThan(0);
    expect(await readFile(junit, 'utf8')).toContain('failures="0" errors="0"');
  });

  test('exec passes output, input and the exit code on', async () => {
    expect(await lab('exec', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7')).toMatchObject({
      code: 7,
      stdout: 'out\n',
      stderr: 'err\n',
    });
  });

  test('an interrupted exec ends at once, and its command in the guest with it', async () => {
    const child = start('exec', '--', 'sh', '-c', 'echo ready >&2; exec sleep 4711');
    const ended = finished(child);
    await said(child, 'ready');
    child.kill('SIGINT');
    expect(await ended).toMatchObject({ code: 130 });
    expect(await lab('exec', '--', 'pgrep', '-f', '[s]leep 4711')).toMatchObject({ code: 1, stdout: '' });
  });

  test('cp carries a file there and back', async () => {
    const data = Buffer.from(Array.from({ length: 100_000 }, (_, i) => i % 251));
    await writeFile(join(state(), 'there'), data);
    expect(await lab('cp', join(state(), 'there'), ':/tmp/a file')).toMatchObject({ code: 0, stderr: '' });
    expect(await lab('cp', ':/tmp/a file', join(state(), 'back'))).toMatchObject({ code: 0, stderr: '' });
    expect((await readFile(join(state(), 'back'))).equals(data)).toBe(true);
  });

  test('logs and status show it', async () => {
    expect((await lab('logs')).stdout).toContain('lab: sshd is listening');
    const [machine] = JSON.parse((await lab('status', '--json')).stdout);
    expect(machine).toMatchObject({ name: 'spine', profile: 'course' });
    expect(await readFile(machine.files.command, 'utf8')).toContain('-device my_rng');
  });

  test('down shuts the guest down, and what it wrote is there after the next up', async () => {
    await lab('exec', '--', 'sh', '-c', 'echo kept > /var/kept');
    expect(await lab('down')).toMatchObject({ code: 0, stdout: 'spine: shut down by its guest\n' });
    expect(await noQemuLeft(state())).toBe(true);
    expect((await lab('status')).stdout).toContain('no machine is running');
    const { code } = await lab('up', '--name', 'spine');
    expect(code).toBe(0);
    expect((await lab('exec', '--', 'cat', '/var/kept')).stdout).toBe('kept\n');
  });

  test('after a reboot of the guest the node is there again', async () => {
    const script = 'rm -f /dev/my_rng_driver; nohup sh -c "sleep 0.2; reboot" >/dev/null 2>&1 &';
    const before = (await lab('logs')).stdout.split('sshd is listening').length;
    await lab('exec', '--', 'sh', '-c', script);
    await expect
      .poll(async () => (await lab('logs')).stdout.split('sshd is listening').length, { timeout: 60_000 })
      .toBe(before + 1);
    const wait =
      'i=0; until [ -c /dev/my_rng_driver ] || [ $i -gt 100 ]; do sleep 0.1; i=$((i+1)); done; ls -l /dev';
    expect((await lab('exec', '--', 'sh', '-c', wait)).stdout).toMatch(/c\S+ .* 250, +0 .*my_rng_driver/);
  });
});
