import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type BenchReport, parseBenchReport } from '../../src/bench/report.js';
import { finished, noQemuLeft, said, useCli } from './cli.js';

const { lab, start, state } = useCli();

const SHORT = ['--rounds', '2', '--seconds', '0.05'];

const AS_IT_WAS = /\/my_rng_pci\nvirtio_rng\.0\n0\n0\n$/;

/** The driver of the basic device, the kernel's source of numbers, modules and programs that the bench brings in. */
async function drivers(): Promise<string> {
  const script = [
    'readlink /sys/bus/pci/devices/0000:00:04.0/driver',
    'cat /sys/class/misc/hw_random/rng_current',
    'lsmod | grep -c -e "^my_rng " -e "^my_rng_fixed "',
    'ps ax | grep -c "[r]ng-bench"',
    'true',
  ].join('\n');
  return (await lab('exec', '-m', 'bench', '--', 'sh', '-c', script)).stdout;
}

/** The tests of this file run in order; a machine is up from the first to the last but one. */
describe('lab bench', () => {
  let report: BenchReport;
  const variant = (id: string) => {
    const found = report.variants.find((one) => one.id === id);
    if (found === undefined) throw new Error(`${id} was not measured: ${JSON.stringify(report.skipped)}`);
    return found;
  };

  test('measures all variants on the machine that runs, and writes JSON and a page', async () => {
    const up = await lab('up', 'my-rng', '--variant', 'further', '--name', 'bench');
    expect(up.code, up.stderr).toBe(0);
    const page = join(state(), 'bench.html');
    const { code, stdout, stderr } = await lab(
      'bench',
      '--name',
      'bench',
      ...SHORT,
      '--json',
      '--html',
      page,
    );
    expect(code, stderr).toBe(0);
    report = parseBenchReport(stdout);
    expect(report.machine).toMatchObject({ name: 'bench', variant: 'further' });
    expect(report.skipped).toEqual([]);
    expect(report.variants.length).toBeGreaterThanOrEqual(10);
    const html = await readFile(page, 'utf8');
    for (const { bytesPerSecond } of report.variants)
      expect(html).toContain(`value="${bytesPerSecond.median}"`);
  });

  test('the device counted every byte that the guest got', () => {
    for (const { id, proof } of report.variants) {
      expect([id, proof.agrees]).toEqual([id, id === 'virtio-rng' ? null : true]);
      expect(proof.guestBytes, id).toBeGreaterThan(0);
    }
  });

  test('each path costs the accesses, system calls and interrupts that it is made of', () => {
    expect(variant('basic')).toMatchObject({
      callsPerNumber: 1,
      accessesPerNumber: 1,
      interruptsPerRequest: 0,
    });
    expect(variant('fixed')).toMatchObject({ callsPerNumber: 1, accessesPerNumber: 1 });
    expect(variant('wide')).toMatchObject({ callsPerNumber: 0.5, accessesPerNumber: 0.5 });
    expect(variant('read32')).toMatchObject({ callsPerNumber: 4 / 4096, accessesPerNumber: 1 });
    expect(variant('read64')).toMatchObject({ callsPerNumber: 4 / 4096, accessesPerNumber: 0.5 });
    for (const id of ['bulk-msi', 'bulk-intx']) {
      expect(variant(id).interruptsPerRequest, id).toBeCloseTo(1, 1);
      expect(variant(id).accessesPerNumber, id).toBeLessThan(0.001);
    }
    expect(report.variants.every(({ faultsPerRequest }) => faultsPerRequest < 1)).toBe(true);
  });

  test('sizes from 4 bytes to a mebibyte, parts that make up the whole, and numbers that are random', () => {
    const bulk = report.sizes.find(({ id }) => id === 'bulk-msi');
    expect(bulk?.points.map(({ size }) => size)).toEqual(Array.from({ length: 10 }, (_, i) => 4 ** (i + 1)));
    for (const { id, nanoseconds, parts, remark } of report.times) {
      const sum = parts.reduce((total, part) => total + part.nanoseconds, 0);
      if (remark === undefined) expect(sum / nanoseconds, id).toBeCloseTo(1, 1);
      else expect(sum, id).toBeGreaterThan(nanoseconds);
    }
    expect(report.quality.map(({ id }) => id)).toContain('libc');
    for (const { id, tests } of report.quality) {
      const failed = tests.filter(({ passed }) => !passed).map((one) => one.id);
      expect([id, failed]).toEqual([id, id === 'libc' ? ['birthday-spacings'] : []]);
    }
    expect(report.bars.map(({ id }) => id)).toEqual(['wide', 'bulk', 'virtio']);
  });

  test('leaves the machine as it was, also when it is interrupted', async () => {
    expect(await drivers()).toMatch(AS_IT_WAS);
    const endless = start('bench', '--name', 'bench', '--variants', 'fixed', '--rounds', '1000');
    const ended = finished(endless);
    await said(endless, 'Measure');
    endless.kill('SIGINT');
    expect(await ended).toMatchObject({ code: 130, stdout: '' });
    expect(await drivers()).toMatch(AS_IT_WAS);
  });

  test('prints a table; variants can be chosen', async () => {
    const { code, stdout } = await lab('bench', '--name', 'bench', ...SHORT, '--variants', 'wide');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^variant +request +bytes\/s/);
    expect(stdout).toMatch(/^basic +4 B .*\nwide +8 B /m);
    expect(stdout).not.toContain('\x1b');
    expect(stdout).toContain('the device counted what the guest got: basic, wide');
    expect((await lab('down', '--all')).code).toBe(0);
  });

  test('without a machine it starts one, and ends it', async () => {
    const { code, stdout, stderr } = await lab('bench', ...SHORT, '--variants', 'basic', '--json');
    expect(code, stderr).toBe(0);
    expect(parseBenchReport(stdout).machine).toMatchObject({ name: 'my-rng-bench', variant: 'further' });
    expect(await noQemuLeft(state())).toBe(true);
  });

  test('lists the variants, and refuses a lab without any', async () => {
    expect((await lab('bench', '--list')).stdout).toMatch(/^basic +my_rng\.ko: .*\nfixed /);
    expect(await lab('bench', 'kernel-modules')).toMatchObject({ code: 2, stdout: '' });
    expect((await lab('bench', '--variants', 'wdie')).stderr).toContain('did you mean wide?');
  });
});
