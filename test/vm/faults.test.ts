import { type ChildProcess, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../../src/host/run.js';
import { Monitor } from '../../src/monitor/monitor.js';
import { scaled } from '../../src/timeouts.js';
import { type CliResult, finished, noQemuLeft, qemuProcesses, said, useCli } from './cli.js';

const { lab, start, state } = useCli();
const LONG = { timeout: 60_000 };
const FAST = ['--profile', 'fast', '--name', 'fault'];

describe('faults', () => {
  test.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)(
    '%s while the guest boots leaves no QEMU',
    async (signal) => {
      const child = start('up', ...FAST);
      const end = finished(child);
      await said(child, 'Boot to SSH');
      expect(qemuProcesses(state())).toHaveLength(1);
      child.kill(signal);
      const { code } = await end;
      expect(code).toBe(signal === 'SIGKILL' ? null : 130);
      expect(await noQemuLeft(state())).toBe(true);
    },
  );

  test('up then starts it as if nothing had happened', async () => {
    const { code, stderr } = await lab('up', ...FAST);
    expect(code, stderr).toBe(0);
  });

  test('a QEMU that is killed is noticed, and up starts a new one', async () => {
    const [pid = 0] = qemuProcesses(state());
    process.kill(pid, 'SIGKILL');
    expect(await noQemuLeft(state())).toBe(true);
    expect((await lab('status')).stdout).toContain('no machine is running');
    expect(await lab('exec', '--', 'true')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('lab up'),
    });
    expect((await lab('up', ...FAST)).code).toBe(0);
  });

  test('a QEMU that somebody ends during the checks is not charged to what is tested', async () => {
    const child = start('test', '--name', 'fault', '--json');
    const end = finished(child);
    await said(child, 'pci-identity');
    process.kill(qemuProcesses(state())[0] ?? 0, 'SIGTERM');
    const { code, stdout } = await end;
    const report = JSON.parse(stdout);
    expect([code, report.outcome]).toEqual([69, 'error']);
    const ended = report.checks.find((check: { outcome: string }) => check.outcome === 'error');
    expect(ended).toMatchObject({ blame: 'host', fact: expect.stringContaining('ended from outside') });
    expect(report.checks.at(-1).outcome).toBe('blocked');
    expect((await lab('up', ...FAST)).code).toBe(0);
  });

  test('checks of a lab that was stopped for longer than they may take are not late', async () => {
    const child = start('test', '--name', 'fault', '--json');
    const end = finished(child);
    await said(child, 'bad-pointers');
    child.kill('SIGSTOP');
    await delay(17_000); // longer than each of those that come now may take
    child.kill('SIGCONT');
    const { code, stdout } = await end;
    expect(code, stdout).toBe(0);
  });

  test('a panic during the checks is a crash with the console, not an error of ours', async () => {
    // The guest panics by itself once the checks load the driver anew.
    const folder = 'stat -c %i /sys/module/my_rng';
    const anew = `first=$(${folder}); echo ready >&2; while [ "$(${folder})" = "$first" ]; do sleep 0.02; done`;
    const panic = start('exec', '--', 'sh', '-c', `${anew}; echo c > /proc/sysrq-trigger`);
    const ended = finished(panic);
    await said(panic, 'ready');
    const { code, stdout } = await lab('test', '--name', 'fault', '--json');
    expect((await ended).code).not.toBe(0);
    const report = JSON.parse(stdout);
    expect(code).toBe(1);
    expect(report.outcome).toBe('crashed');
    const crashed = report.checks.find((check: { outcome: string }) => check.outcome === 'crashed');
    expect(crashed.evidence.join('\n')).toContain('Kernel panic');
    expect((await lab('down', 'fault', '--force')).code).toBe(0);
  });

  test('a port that is taken is named before anything else happens', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const { code, stderr } = await lab('up', ...FAST, '--port', String(port));
    server.close();
    expect(code).toBe(2);
    expect(stderr).toContain(`port ${port}`);
    expect(stderr).toContain('Next: ');
  });

  test('two ups at once start one machine', async () => {
    const [a, b] = await Promise.all([lab('up', ...FAST, '--json'), lab('up', ...FAST, '--json')]);
    expect([a.code, b.code], a.stderr + b.stderr).toEqual([0, 0]);
    const started = [a, b].map(({ stdout }) => JSON.parse(stdout).started);
    expect(started.toSorted()).toEqual([false, true]);
    expect(qemuProcesses(state())).toHaveLength(1);
  });

  test('a wrong host key is refused', async () => {
    const key = join(state(), 'machines/fault/host_key');
    const [mine, other] = [await readFile(key), await readFile(join(state(), 'keys/client_key'))];
    await writeFile(key, other);
    const { code, stderr } = await lab('exec', '--', 'true');
    await writeFile(key, mine);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/host key/i);
    expect((await lab('exec', '--', 'true')).code).toBe(0);
  });

  test('the record of a dead machine of another boot counts as none', async () => {
    const file = join(state(), 'machines/fault/machine.json');
    const record = JSON.parse(await readFile(file, 'utf8'));
    expect((await lab('down', '--force')).code).toBe(0);
    await writeFile(file, JSON.stringify({ ...record, pid: process.pid, bootId: 'another' }));
    expect((await lab('status')).stdout).toContain('no machine is running');
    expect((await lab('up', ...FAST)).code).toBe(0);
  });

  test('a record that cannot be understood is named, with what to do', async () => {
    expect((await lab('down', '--force')).code).toBe(0);
    await writeFile(join(state(), 'machines/fault/machine.json'), '{"half":');
    const { code, stderr } = await lab('up', ...FAST);
    expect(code).toBe(69);
    expect(stderr).toContain('machine.json');
    expect(stderr).toContain('Next: ');
  });
});

const FULL = ['--profile', 'fast', '--name', 'full'];

const MAY_MOUNT = process.getuid?.() === 0 && spawnSync('unshare', ['--mount', 'true']).status === 0;

describe.skipIf(!MAY_MOUNT)('a host whose disk is full (needs root, to mount one)', () => {
  let machines: string;
  let writer: ChildProcess;
  let written: Promise<CliResult>;

  beforeAll(async () => {
    machines = join(state(), 'machines');
    await mkdir(machines, { recursive: true });
    await run('mount', ['-t', 'tmpfs', '-o', 'size=200m', 'lab-test', machines], LONG);
    const { code, stderr } = await lab('up', ...FULL);
    expect(code, stderr).toBe(0);
    await run('sh', ['-c', `cat /dev/zero > ${machines}/filler 2>/dev/null || true`], LONG);
    await using monitor = await Monitor.attach(createConnection(join(machines, 'full/qmp')), {
      timeouts: scaled(1),
    });
    const stopped = monitor.nextEvent('STOP', { timeout: 60_000 });
    const write = 'dd if=/dev/zero of=/var/x bs=1M count=60 2>/dev/null && sync && echo written';
    writer = start('exec', '-m', 'full', '--', 'sh', '-c', write);
    written = finished(writer);
    await stopped;
  });

  afterAll(async () => {
    writer.kill('SIGKILL');
    await lab('down', '--all', '--force');
    await run('umount', [machines], LONG);
  });

  test.each([
    ['test', '--name', 'full'],
    ['up', ...FULL],
    ['exec', '-m', 'full', '--', 'true'],
  ])('%s says that it stopped the guest', async (...args) => {
    const { code, stderr } = await lab(...args);
    expect(code, stderr).toBe(69);
    expect(stderr).toContain('the host has no room for what it writes to its disk');
    expect(stderr).toContain(`${machines}/full: `);
    expect(stderr).toContain('Next: free some space');
  });

  test('once there is room, the guest goes on as if nothing had been', async () => {
    await rm(join(machines, 'filler'));
    const { code, stderr } = await lab('up', ...FULL);
    expect(code, stderr).toBe(0);
    expect(await written).toMatchObject({ code: 0, stdout: 'written\n' });
  });
});
