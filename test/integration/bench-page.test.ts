import { beforeEach, describe, expect, test } from 'vitest';
import { toBenchPage } from '../../src/bench/render/page.js';
import type { BenchReport } from '../../src/bench/report.js';
import { benchReport } from '../support/bench-reports.js';
import { browser, look, NO_BROWSER } from '../support/browser.js';
import { useTempFolder } from '../support/temp.js';

const folder = useTempFolder();

beforeEach((context) => {
  if (browser === undefined) context.skip(NO_BROWSER);
});

const PLOTS = ['throughput', 'sizes', 'times'];

describe.each([1280, 400])('the page of `lab bench`, %d pixels wide', (width) => {
  test('shows each plot once, with text inside of it that does not overlap', async () => {
    const { plots, errors } = await measured(toBenchPage(benchReport()), width);
    expect(errors).toEqual([]);
    expect(plots.map(({ id }) => id)).toEqual(PLOTS);
    for (const { id, size, texts, outside, overlapping } of plots) {
      expect(size[0], id).toBeGreaterThan(width / 2);
      expect(size[1], id).toBeGreaterThan(100);
      expect(texts, id).toBeGreaterThanOrEqual(8);
      expect(outside, id).toEqual([]);
      expect(overlapping, id).toEqual([]);
    }
  });

  test('needs no scrolling to the side, and its text can be read', async () => {
    const { pageWidth, smallest } = await measured(toBenchPage(benchReport()), width);
    expect(pageWidth).toBeLessThanOrEqual(width);
    expect(smallest).toBeGreaterThan(9.5);
  });

  test('stays readable with long names, few variants, and speeds that are far apart', async () => {
    const { plots, errors } = await measured(toBenchPage(extreme()), width);
    expect(errors).toEqual([]);
    for (const { id, outside, overlapping } of plots)
      expect({ id, outside, overlapping }).toEqual({ id, outside: [], overlapping: [] });
  });
});

describe('the numbers of the page', () => {
  test('are those of the report', async () => {
    const report = benchReport();
    const { values } = await measured(toBenchPage(report), 1280);
    for (const { id, bytesPerSecond, ratio } of report.variants) {
      expect(values.speed[id]).toBe(bytesPerSecond.median);
      expect(values.ratio[id]).toBe(ratio.value);
    }
    for (const { id, reached } of report.bars) expect(values.bar[id]).toBe(reached.value);
    const points = report.sizes.flatMap((line) => line.points.map((point) => point.bytesPerSecond.median));
    expect(values.sizes.toSorted((a, b) => a - b)).toEqual(points.toSorted((a, b) => a - b));
  });

  test('are drawn where they belong: what is quicker is further to the right, a factor of ten the same way each', async () => {
    const { dots, ticks } = await measured(toBenchPage(benchReport()), 1280);
    const [first = 0, second = 0] = ticks;
    for (const { id, bytesPerSecond } of benchReport().variants) {
      const expected = first + (second - first) * Math.log10(bytesPerSecond.median / 1e6);
      expect(dots[id], id).toBeCloseTo(expected, 0);
    }
  });
});

function extreme(): BenchReport {
  const report = benchReport();
  const [first, second] = report.variants;
  if (first === undefined || second === undefined) throw new Error('the report has no variants');
  const slow = {
    ...second.bytesPerSecond,
    median: 12,
    min: 10,
    max: 20,
    lowerQuartile: 11,
    upperQuartile: 15,
  };
  const title = 'a rather long name of it, W';
  return { ...report, variants: [first, { ...second, title, bytesPerSecond: slow }] };
}

/** What the browser made of a page. */
interface Measured {
  readonly errors: readonly string[];
  readonly pageWidth: number;
  /** Pixels of the smallest text in a plot. */
  readonly smallest: number;
  readonly plots: readonly {
    readonly id: string;
    readonly size: readonly [number, number];
    readonly texts: number;
    readonly outside: readonly string[];
    readonly overlapping: readonly string[];
  }[];
  readonly values: {
    readonly speed: Readonly<Record<string, number>>;
    readonly ratio: Readonly<Record<string, number>>;
    readonly bar: Readonly<Record<string, number>>;
    readonly sizes: readonly number[];
  };
  /** Middles of the medians' dots, and places of the first two lines of the axis, in the drawing's own pixels. */
  readonly dots: Readonly<Record<string, number>>;
  readonly ticks: readonly number[];
}

/** The page in a frame of that width: a window of the browser cannot be as narrow as a telephone. */
async function measured(page: string, width: number): Promise<Measured> {
  const source = page.replaceAll('&', '&amp;').replaceAll('"', '&quot;');
  const outer = `<!doctype html><iframe id="frame" style="border:0;width:${width}px;height:3000px" srcdoc="${source}"></iframe>
<script>addEventListener('load', () => {
  const text = JSON.stringify((${LOOK_AROUND})(document.getElementById('frame').contentDocument));
  document.title = 'measured ' + encodeURIComponent(text);
});</script>`;
  const { document, console } = await look(folder.path, outer);
  const found = /<title>measured ([^<]*)/.exec(document)?.[1];
  if (found === undefined) throw new Error(`nothing was measured: ${console.join('\n')}`);
  return { ...JSON.parse(decodeURIComponent(found)), errors: console };
}

/** Runs in the browser. */
const LOOK_AROUND = `(doc) => {
  const all = (root, query) => [...root.querySelectorAll(query)];
  const box = (node) => node.getBoundingClientRect();
  const shown = all(doc, 'figure.plot > svg').filter((svg) => box(svg).width > 0);
  const numbers = (query, name) => Object.fromEntries(all(doc, query).map((node) =>
    [node.closest('[data-' + name + ']').dataset[name], Number(node.querySelector('data').value)]));
  const plots = shown.map((svg) => {
    const frame = box(svg);
    const texts = all(svg, 'text').map((node) => ({ words: node.textContent, box: box(node) })).filter(({ words }) => words !== '');
    const outside = texts.filter(({ box: b }) =>
      b.left < frame.left - 1 || b.right > frame.right + 1 || b.top < frame.top - 1 || b.bottom > frame.bottom + 1);
    const overlapping = texts.flatMap((a, i) => texts.slice(i + 1).filter((b) => {
      const wide = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
      const high = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
      return wide > 1 && high > 3;
    }).map((b) => a.words + ' / ' + b.words));
    return { id: svg.parentElement.id, size: [frame.width, frame.height], texts: texts.length,
      outside: outside.map(({ words }) => words), overlapping };
  });
  const sizeOf = (node) => parseFloat(getComputedStyle(node).fontSize) * node.getScreenCTM().a;
  const throughput = shown.find((svg) => svg.parentElement.id === 'throughput');
  return {
    pageWidth: doc.documentElement.scrollWidth,
    smallest: Math.min(...shown.flatMap((svg) => all(svg, 'text').map(sizeOf))),
    plots,
    values: {
      speed: numbers('td.speed', 'variant'), ratio: numbers('td.ratio', 'variant'), bar: numbers('li[data-bar]', 'bar'),
      sizes: all(doc, '#sizes td data').map((node) => Number(node.value)),
    },
    dots: Object.fromEntries(all(throughput, 'circle.median').map((node) =>
      [node.closest('[data-variant]').dataset.variant, Number(node.getAttribute('cx'))])),
    ticks: all(throughput, 'line.grid').map((node) => Number(node.getAttribute('x1'))).slice(0, 2),
  };
}`;
