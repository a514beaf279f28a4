import { describe, expect, test } from 'vitest';
import type { LabBench, Measurement, Visit } from '../../src/bench/bench.js';
import { noiseOf } from '../../src/bench/host.js';
import { chooseVariants, loadBenchOf } from '../../src/bench/load-bench.js';
import { toBenchPage } from '../../src/bench/render/page.js';
import { decades, powersOfFour } from '../../src/bench/render/scale.js';
import { spread } from '../../src/bench/render/sizes-plot.js';
import { benchTable } from '../../src/bench/render/terminal.js';
import { digits, large, percent, rate, sizeText, span, tick } from '../../src/bench/render/units.js';
import { isSound, parseBenchReport } from '../../src/bench/report.js';
import { resultsOf, roundOrder } from '../../src/bench/run.js';
import { median, quantile, ratio, summarize } from '../../src/bench/statistics.js';
import type { LabError } from '../../src/errors.js';
import { benchReport } from '../support/bench-reports.js';

describe('statistics', () => {
  test('quantiles are interpolated, of any order', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(quantile([10, 20, 30, 40, 50], 0.25)).toBe(20);
    expect(quantile([1, 2], 0.9)).toBeCloseTo(1.9, 10);
  });

  test('a summary has the spread, and one disturbed round moves neither median nor deviation', () => {
    expect(summarize([10, 11, 9, 10, 1000])).toEqual({
      median: 10,
      mad: 1,
      lowerQuartile: 10,
      upperQuartile: 11,
      min: 9,
      max: 1000,
      rounds: [10, 11, 9, 10, 1000],
    });
  });

  test('the interval of a ratio holds it, is the same every time, and grows with the spread', () => {
    const one = [20, 21, 19, 20, 22];
    const steady = ratio(one, [10, 10, 10, 10, 10]);
    expect(steady).toEqual(ratio(one, [10, 10, 10, 10, 10]));
    expect(steady.value).toBe(2);
    expect(steady.low).toBeLessThanOrEqual(2);
    expect(steady.high).toBeGreaterThanOrEqual(2);
    const shaky = ratio([20, 40, 10, 20, 80], [10, 10, 10, 10, 10]);
    expect(shaky.high - shaky.low).toBeGreaterThan(steady.high - steady.low);
    expect(ratio([7], [7])).toEqual({ value: 1, low: 1, high: 1 });
  });

  test('what slows both down in the same round does not widen their ratio', () => {
    const load = [1, 0.5, 1, 0.25, 1];
    const { low, high } = ratio(
      load.map((share) => 30 * share),
      load.map((share) => 10 * share),
    );
    expect(low).toBeCloseTo(3, 10);
    expect(high).toBeCloseTo(3, 10);
  });
});

describe('rounds', () => {
  test('each visits all variants, beginning with another one', () => {
    const order = roundOrder(['a', 'b', 'c'], 4);
    expect(order.slice(0, 3).join('')).toBe('abc');
    for (let round = 0; round < 4; round += 1) {
      expect(order.slice(round * 3, round * 3 + 3).sort()).toEqual(['a', 'b', 'c']);
    }
    expect(new Set([0, 3, 6].map((at) => order[at])).size).toBeGreaterThan(1);
  });

  test('results are medians of the rounds, and a round that does not agree speaks for all', () => {
    const variants = [
      { id: 'basic', title: 'B', summary: '' },
      { id: 'wide', title: 'W', summary: '' },
    ];
    const visits = new Map<string, Visit[]>([
      ['basic', [visit(4, 100), visit(4, 50), visit(4, 200)]],
      ['wide', [visit(8, 100), visit(8, 100, false), visit(8, 100)]],
    ]);
    const { variants: results, sizes } = resultsOf({ yardstick: 'basic' }, variants, visits);
    const [basic, wide] = results;
    expect(basic?.bytesPerSecond.median).toBeCloseTo(4e7, 0);
    expect(basic?.ratio.value).toBe(1);
    expect(basic?.numbersPerSecond).toBeCloseTo(1e7, 0);
    expect(basic?.callsPerNumber).toBe(1);
    expect(basic?.proof).toMatchObject({ guestBytes: 120, deviceBytes: 120, agrees: true });
    expect(wide?.ratio.value).toBeCloseTo(2, 10);
    expect(wide?.callsPerNumber).toBe(0.5);
    expect(wide?.proof).toMatchObject({ agrees: false, text: 'differs' });
    expect(sizes.map(({ id, points }) => [id, points.map(({ size }) => size)])).toEqual([
      ['basic', [16, 64]],
      ['wide', [16, 64]],
    ]);
  });
});

function visit(size: number, typical: number, agrees = true): Visit {
  const one = (bytes: number): Measurement => ({
    size: bytes,
    requests: 10,
    bytes: bytes * 10,
    nanoseconds: typical * 12,
    typical,
    calls: 10,
    faults: 0,
    sleeps: 0,
    latency: { clock: 1, min: 1, p50: 2, p90: 3, p99: 4, p999: 5, max: 6 },
    accessesPerNumber: 1,
    proof: { guestBytes: bytes * 10, deviceBytes: bytes * 10, agrees, text: agrees ? 'agrees' : 'differs' },
  });
  return { main: one(size), sizes: [one(64), one(16)] };
}

describe('noise', () => {
  const { host, variants } = benchReport();
  const quiet = variants.map((one) => ({ ...one, bytesPerSecond: { ...one.bytesPerSecond, mad: 0 } }));

  test('a quiet run has none', () => {
    expect(noiseOf(host, quiet)).toEqual([]);
  });

  test('a busy host, time that went elsewhere and rounds that differ are told apart', () => {
    expect(noiseOf({ ...host, load: [2, 1] }, quiet)).toEqual([
      'the host was busy before the run: load 2.00',
    ]);
    expect(noiseOf({ ...host, load: [0, 4] }, quiet)).toHaveLength(1);
    const lost = quiet.map((one) => ({ ...one, disturbed: 0.4 }));
    expect(noiseOf(host, lost)).toEqual([expect.stringContaining('40 % of the time')]);
    const [first, ...rest] = quiet;
    if (first === undefined) throw new Error('the report has no variants');
    const shaky = {
      ...first,
      bytesPerSecond: { ...first.bytesPerSecond, mad: first.bytesPerSecond.median / 5 },
    };
    expect(noiseOf(host, [shaky, ...rest])).toEqual([expect.stringContaining(first.id)]);
  });
});

describe('the bench of a lab', () => {
  test('my-rng has one; its yardstick is always measured', async () => {
    const bench = await loadBenchOf('my-rng');
    expect(bench.lab.variants[bench.machine]).toBeDefined();
    expect(ids(bench, undefined)).toHaveLength(bench.variants.length);
    expect(ids(bench, ['wide'])).toEqual([bench.yardstick, 'wide']);
    expect(ids(bench, ['wide', bench.yardstick])).toEqual([bench.yardstick, 'wide']);
  });

  test('unknown names and labs without a bench are refused with what there is', async () => {
    const bench = await loadBenchOf('my-rng');
    expect(() => ids(bench, ['wdie'])).toThrowError(expect.objectContaining({ code: 'usage/variants' }));
    const error = await loadBenchOf('kernel-modules').catch((thrown: LabError) => thrown);
    expect(error).toMatchObject({ code: 'bench/none', evidence: ['labs with a bench: my-rng'] });
  });
});

const ids = (bench: LabBench, names: string[] | undefined) =>
  chooseVariants(bench, names).map(({ id }) => id);

describe('units', () => {
  test.each([
    [rate(3.334e6), '3.33 MB/s'],
    [rate(999.7e3), '1.00 MB/s'],
    [rate(12), '12.0 B/s'],
    [tick(1e7), '10 MB/s'],
    [tick(1e5), '100 kB/s'],
    [large(832_511, ''), '833 k'],
    [sizeText(4), '4 B'],
    [sizeText(65536), '64 KiB'],
    [sizeText(1 << 20), '1 MiB'],
    [sizeText(1000), '1000 B'],
    [span(950.4), '950 ns'],
    [span(1072), '1.07 µs'],
    [span(12_345_678), '12.3 ms'],
    [digits(0.000061), '0.000061'],
    [digits(0), '0'],
    [digits(108.4), '108'],
    [percent(0.6), '60 %'],
    [percent(0.0731), '7.3 %'],
  ])('%s', (actual, expected) => {
    expect(actual).toBe(expected);
  });
});

describe('scales', () => {
  test('whole decades cover all values', () => {
    const { ticks, at } = decades([3.3e6, 5e8], 0, 300);
    expect(ticks).toEqual([1e6, 1e7, 1e8, 1e9]);
    expect([1e6, 1e9].map(at)).toEqual([0, 300]);
    expect(at(1e7)).toBeCloseTo(100, 6);
  });

  test('a single value still has a decade, and sizes have ticks that are sizes', () => {
    expect(decades([5], 0, 10).ticks).toEqual([1, 10]);
    expect(powersOfFour([4, 1048576], 3, 0, 1).ticks).toEqual([4, 256, 16384, 1048576]);
  });

  test('labels stay in their order, apart, and inside', () => {
    const places = spread([10, 12, 13, 200, 201], 0, 210);
    expect(places[0]).toBeGreaterThanOrEqual(0);
    for (const [i, place] of places.slice(1).entries()) {
      expect(place - (places[i] ?? 0)).toBeGreaterThanOrEqual(17 - 1e-9);
    }
    expect(places.at(-1)).toBeLessThanOrEqual(210);
  });
});

describe('reports', () => {
  test('JSON keeps everything', () => {
    expect(parseBenchReport(JSON.stringify(benchReport()))).toEqual(benchReport());
    expect(() => parseBenchReport('{"format":1}')).toThrowError(
      expect.objectContaining({ code: 'bench/report' }),
    );
    expect(() => parseBenchReport('no JSON')).toThrowError(expect.objectContaining({ code: 'bench/report' }));
  });

  test('only what was counted otherwise, or is not random without a known reason, is unsound', () => {
    const report = benchReport();
    expect(isSound(report)).toBe(true);
    const [first] = report.variants;
    if (first === undefined) throw new Error('the report has no variants');
    const wrong = { ...first, proof: { ...first.proof, agrees: false } };
    expect(isSound({ ...report, variants: [wrong] })).toBe(false);
    const quality = report.quality.map((one) => ({
      ...one,
      tests: one.tests.map((entry) => ({ ...entry, known: undefined })),
    }));
    expect(isSound({ ...report, quality })).toBe(false);
  });

  test('the table fits a terminal and names what is wrong', () => {
    const lines = benchTable(benchReport());
    expect(Math.max(...lines.slice(0, 12).map((line) => line.length))).toBeLessThanOrEqual(110);
    expect(lines.join('\n')).toContain('✗ bulk, 64 KiB, against virtio-rng: 0.400 × (wanted 1.00 ×)');
    const report = benchReport();
    const [first] = report.variants;
    if (first === undefined) throw new Error('the report has no variants');
    const wrong = { ...first, proof: { ...first.proof, agrees: false, text: '12 and 8' } };
    expect(benchTable({ ...report, variants: [wrong] }).join('\n')).toContain('disagree: 12 and 8');
  });

  test('the page escapes what came from outside, and is complete when little was measured', () => {
    const report = benchReport();
    const host = { ...report.host, cpu: '<script>alert(1)</script>' };
    expect(toBenchPage({ ...report, host })).not.toContain('<script');
    const bare = toBenchPage({
      ...report,
      sizes: [],
      times: [],
      quality: [],
      bars: [],
      noise: [],
      skipped: [],
    });
    expect(bare).toContain('id="throughput"');
    expect(bare).not.toContain('id="sizes"');
    expect(bare).not.toMatch(/NaN|undefined|Infinity/);
    expect(toBenchPage(report)).not.toMatch(/NaN|undefined|Infinity/);
  });
});
