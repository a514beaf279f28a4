import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { summarize } from '../../src/bench/statistics.js';
import { barsOf } from '../../src/labs/my-rng/bench/bars.js';
import { measurementOf } from '../../src/labs/my-rng/bench/measure.js';
import { benchArguments, type ProgramResult, parseResult } from '../../src/labs/my-rng/bench/program.js';
import { qualityOf } from '../../src/labs/my-rng/bench/quality.js';
import { type Costs, splitOf } from '../../src/labs/my-rng/bench/times.js';
import { variants } from '../../src/labs/my-rng/bench/variants.js';
import { glibcRandom } from '../../src/labs/my-rng/glibc-random.js';
import { benchReport } from '../support/bench-reports.js';

const RESULT: ProgramResult = {
  event: 'result',
  mode: 'ioctl64',
  size: 8,
  requests: 100,
  bytes: 800,
  nanoseconds: 150_000,
  typical: 1400,
  calls: 100,
  faults: 0,
  sleeps: 0,
  clock: 60,
  percentiles: { min: 1, p50: 2, p90: 3, p99: 4, p999: 5, max: 6 },
  total_requests: 120,
  total_bytes: 960,
};

describe('what the guest says against what the device counted', () => {
  const counted = { bytes: 960, accesses: 120, interrupts: 0, nanoseconds: 0 };

  test('accesses and interrupts are those of the whole run', () => {
    expect(measurementOf(RESULT, counted)).toMatchObject({
      accessesPerNumber: 0.5,
      interruptsPerRequest: 0,
      proof: { guestBytes: 960, deviceBytes: 960, agrees: true },
    });
  });

  test('a byte too few never agrees, one too many only where the device works ahead', () => {
    for (const ahead of [false, true]) {
      expect(measurementOf(RESULT, { ...counted, bytes: 956 }, ahead).proof).toMatchObject({
        agrees: false,
        text: 'the program got 960 bytes, and the device made 956',
      });
    }
    expect(measurementOf(RESULT, { ...counted, bytes: 964 }).proof.agrees).toBe(false);
    expect(measurementOf(RESULT, { ...counted, bytes: 1024 }, true).proof.agrees).toBe(true);
    expect(measurementOf(RESULT, { ...counted, bytes: 1_000_000 }, true).proof.agrees).toBe(false);
  });

  test('where nothing counts, nothing is claimed', () => {
    const { proof, accessesPerNumber } = measurementOf(RESULT, undefined);
    expect(proof).toMatchObject({ deviceBytes: null, agrees: null });
    expect(accessesPerNumber).toBeUndefined();
  });
});

describe('where the time goes', () => {
  const result = { id: 'a', title: 'A', size: 4, bytesPerSecond: summarize([4e6]) };
  const costs: Costs = { call: 600, device: 40, accesses: 1, exit: 260 };
  const parts = (found: ReturnType<typeof splitOf>) =>
    Object.fromEntries(found.parts.map(({ kind, nanoseconds }) => [kind, Math.round(nanoseconds)]));

  test('what is left over is the driver’s', () => {
    const split = splitOf(result, costs);
    expect(split.nanoseconds).toBe(1000);
    expect(parts(split)).toEqual({ call: 600, driver: 100, exit: 260, device: 40 });
    expect(split.remark).toBeUndefined();
  });

  test('a transfer is one of a single number, and copying', () => {
    expect(parts(splitOf(result, { ...costs, transfer: 910 }))).toEqual({
      ...{ call: 600, exit: 260, wait: 50, device: 40, copy: 50 },
    });
    expect(parts(splitOf(result, { ...costs, transfer: 100 }))).toMatchObject({ wait: 0, copy: 100 });
  });

  test('parts that are more than the whole are said to be', () => {
    const split = splitOf(result, { ...costs, exit: 460 });
    expect(parts(split)).toEqual({ call: 600, driver: 0, exit: 460, device: 40 });
    expect(split.remark).toContain('10 % more');
  });

  test('without counters the rest is one part', () => {
    expect(parts(splitOf(result, { call: 600 }))).toEqual({ call: 600, unknown: 400 });
  });
});

describe('bars', () => {
  const report = benchReport();

  test('compare medians, and say what limits', () => {
    const bars = barsOf(report.variants, report.times);
    expect(bars.map(({ id, met }) => [id, met])).toEqual([
      ['wide', true],
      ['bulk', true],
      ['virtio', true],
    ]);
    expect(bars[1]?.reached.value).toBeCloseTo(361 / 3.33, 6);
    expect(bars[1]?.limit).toBe('limited by: device 65 %, then copying 22 % of the time');
  });

  test('stand only for what was measured', () => {
    const only = report.variants.filter(({ id }) => id === 'basic' || id === 'wide');
    expect(barsOf(only, []).map(({ id }) => id)).toEqual(['wide']);
  });
});

describe('variants', () => {
  test('have names of their own, and sizes that rng-bench takes', () => {
    expect(new Set(variants.map(({ id }) => id)).size).toBe(variants.length);
    for (const { size, sizes } of variants) {
      for (const one of [size, ...sizes]) expect(one >= 4 && one <= 1024 ** 2 && one % 4 === 0).toBe(true);
    }
  });

  test('the C library’s generator is known to fail the birthdays, no other test and nobody else', () => {
    const numbers = Buffer.alloc(256 * 1024);
    for (const [i, number] of glibcRandom(7, numbers.length / 4).entries())
      numbers.writeUInt32LE(number, i * 4);
    const { width, tests } = qualityOf('libc', numbers);
    expect(width).toBe(31);
    expect(tests.filter(({ passed }) => !passed).map(({ id, known }) => [id, known !== undefined])).toEqual([
      ['birthday-spacings', true],
    ]);
    expect(qualityOf('pcg32', numbers).tests.every(({ known }) => known === undefined)).toBe(true);
  });
});

const noCompiler = spawnSync('cc', ['--version']).status !== 0;

describe.skipIf(noCompiler)('rng-bench (needs cc)', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'rng-bench-'));
    const source = join(import.meta.dirname, '../../patches/my-rng/guest/rng-bench.c');
    const flags = ['-static', '-O2', '-std=gnu11', '-Wall', '-Wextra', '-Werror'];
    execFileSync('cc', [...flags, '-o', join(dir, 'rng-bench'), source]);
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const call = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(join(dir, 'rng-bench'), args, { encoding: 'buffer' });
    return { status, stdout, stderr: stderr.toString() };
  };
  const options = { seconds: 0.01, warmUp: 0.001, samples: 20 };

  test('counts what it reads', () => {
    const args = benchArguments({ mode: 'read', node: '/dev/zero', size: 65536 }, options);
    const { status, stdout } = call(...args);
    const result = parseResult(stdout.toString());
    if (result?.event !== 'result') throw new Error(`no result: ${stdout.toString()}`);
    expect(status).toBe(0);
    expect(result.bytes).toBe(result.requests * 65536);
    expect(result.calls).toBe(result.requests);
    expect(result.total_bytes).toBe(result.total_requests * 65536);
    expect(result.total_requests).toBeGreaterThanOrEqual(result.requests + 20);
    const { min, p50, p90, p99, p999, max } = result.percentiles;
    const ordered = [min, p50, p90, p99, p999, max];
    expect(ordered.toSorted((a, b) => a - b)).toEqual(ordered);
    expect(min).toBeGreaterThan(0);
  });

  test('measures a number of requests, without samples', () => {
    const { stdout } = call('-n', '7', '-l', '0', '-w', '0', '-s', '100', 'read', '/dev/zero');
    expect(parseResult(stdout.toString())).toMatchObject({
      requests: 7,
      bytes: 700,
      total_requests: 7,
      size: 100,
    });
  });

  test('a system call that no driver knows is one, too', () => {
    const { stdout } = call('-n', '5', '-w', '0', 'null', '/dev/zero');
    expect(parseResult(stdout.toString())).toMatchObject({ requests: 5, bytes: 0, calls: 5 });
  });

  test.each([
    [['read', '/nonexistent'], 'open', 'ENOENT'],
    [['read', '/dev/null'], 'request', 'ENODATA'],
    [['-p', 'bulk', 'read', '/dev/zero'], 'path', 'ENOTTY'],
    [['ioctl32', '/dev/zero'], 'request', 'ENOTTY'],
  ])('%s is blocked', (args, what, error) => {
    const { status, stdout } = call(...args);
    expect(status).toBe(1);
    expect(parseResult(stdout.toString())).toEqual({ event: 'blocked', what, error });
  });

  test('writes the bytes themselves', () => {
    expect(call('-d', '-n', '3', '-s', '8', 'read', '/dev/zero').stdout).toEqual(Buffer.alloc(24));
  });

  test.each([
    [[]],
    [['read']],
    [['fly', '/dev/zero']],
    [['-s', '3', 'read', '/dev/zero']],
    [['-s', '1048577', 'read', '/dev/zero']],
    [['-p', '33', 'read', '/dev/zero']],
    [['-p', 'bulk', 'ioctl32', '/dev/zero']],
    [['-t', '0', 'read', '/dev/zero']],
    [['-n', '-1', 'read', '/dev/zero']],
    [['-d', 'read', '/dev/zero']],
  ])('refuses %s', (args) => {
    const { status, stdout, stderr } = call(...args);
    expect([status, stdout.length]).toEqual([2, 0]);
    expect(stderr).toContain('usage: rng-bench');
  });
});
