import { constant, html, type Markup } from '../../grade/render/html-template.js';
import { time } from '../../grade/render/text.js';
import type { BenchReport } from '../report.js';
import { figure, line, sign } from './plot.js';
import { sizesPlot } from './sizes-plot.js';
import { STYLE } from './style.js';
import {
  latencyTable,
  proofTable,
  qualityTable,
  qualityText,
  sizesTable,
  timesLegend,
  timesTable,
  variantTable,
} from './tables.js';
import { throughputPlot } from './throughput-plot.js';
import { timesPlot } from './times-plot.js';
import { range, rate, sizeText, span, times } from './units.js';

/** One self-contained page: no network, no scripts, no other files. Each plot has the table of its numbers below it. */
export function toBenchPage(report: BenchReport): string {
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${report.lab}: ${report.title}</title>
<style>${constant(STYLE)}</style>
</head>
<body>
${head(report)}
<main>
${throughput(report)}
${report.sizes.length > 0 && bySize(report)}
${report.times.length > 0 && whereTimeGoes(report)}
${single(report)}
${report.quality.length > 0 && quality(report)}
${facts(report)}
</main>
</body>
</html>
`;
  return page.text;
}

function head(report: BenchReport): Markup {
  const { lab, title, started, duration, machine, variants, method, noise } = report;
  const wrong = variants.filter(({ proof }) => proof.agrees === false);
  return html`<header>
<h1>${lab}: ${title}</h1>
<p class="quiet">${started.slice(0, 16).replace('T', ' ')} UTC, ${method.rounds} rounds in ${time(duration)}, ${machine.accelerator}, QEMU ${machine.made.qemu?.split(',')[0] ?? ''}, Linux ${machine.made.linux?.split(',')[0] ?? ''}</p>
${wrong.map(({ title: name, proof }) => html`<p class="alarm"><strong>${name}: guest and device disagree.</strong> ${proof.text}</p>`)}
${noise.length > 0 && html`<div class="noise"><strong>This run was not quiet.</strong><ul>${noise.map((text) => html`<li>${text}</li>`)}</ul></div>`}
${bars(report)}
</header>`;
}

/** What had to be reached, as large numbers. */
function bars({ bars: all }: BenchReport): Markup {
  const cards = all.map(
    ({ id, title, wanted, reached, met, limit }) =>
      html`<li class="${met ? 'good' : 'bad'}" data-bar="${id}"><b><data value="${reached.value}">${times(reached.value)}</data></b>${title}<small>${met ? '✓ reached' : '✗ missed'}: at least ${unbroken(times(wanted))} is wanted; ${unbroken('95 % interval')} ${range(reached)}</small>${limit !== undefined && html`<small>${unbroken(limit)}</small>`}</li>`,
  );
  return html`<ul class="cards" aria-label="What has to be reached">${cards}</ul>`;
}

/** A number stays with its unit. */
function unbroken(text: string): string {
  return text.replace(/(?<=\d) (?=[%×])/g, '\u00a0');
}

function throughput(report: BenchReport): Markup {
  const { variants, skipped, yardstick } = report;
  const quickest = variants.toSorted((a, b) => b.bytesPerSecond.median - a.bytesPerSecond.median)[0];
  const description = `Median bytes per second of ${variants.length} variants on a logarithmic axis. The quickest is ${quickest?.title} with ${rate(quickest?.bytesPerSecond.median ?? 0)}. All numbers stand in the table below.`;
  const below = html`${variantTable(report)}${skipped.length > 0 && html`<p class="quiet">Not measured: ${skipped.map(({ title, reason }) => `${title} (${reason})`).join('; ')}</p>`}`;
  return html`<section aria-labelledby="throughput-head"><h2 id="throughput-head">Throughput by variant</h2>
<p>Bytes that reach the program in the guest, per second. Dots are medians of all rounds, bars reach from the lower to the upper quartile, thin lines to the extremes. The axis is logarithmic, so a step is a factor; the dashed line is <em>${yardstick}</em>, which the factors on the right refer to.</p>
${figure({ id: 'throughput', title: 'Throughput by variant', description, below }, (canvas) => throughputPlot(report, canvas))}</section>`;
}

function bySize(report: BenchReport): Markup {
  const names = report.sizes.map(({ title }) => title).join(', ');
  const description = `Median bytes per second over the size of a request, both axes logarithmic, a line each for ${names}. All numbers stand in the table below.`;
  const below = html`${legend(report)}${sizesTable(report)}`;
  return html`<section aria-labelledby="sizes-head"><h2 id="sizes-head">Throughput by size of a request</h2>
<p>What is paid once for a request (the system call, a transfer's start and interrupt) weighs less, the more bytes share it. Where a line is flat, each byte has its own price.</p>
${figure({ id: 'sizes', title: 'Throughput by size of a request', description, below }, (canvas) => sizesPlot(report, canvas))}</section>`;
}

/** On a narrow page the lines have no room for their names. */
function legend({ sizes }: BenchReport): Markup {
  const items = sizes.map(
    ({ title }, index) =>
      html`<li><svg viewBox="0 0 26 12" aria-hidden="true">${line(0, 6, 26, 6, `series s${index}`)}${sign(index, 13, 6)}</svg>${title}</li>`,
  );
  return html`<ul class="legend only-narrow">${items}</ul>`;
}

function whereTimeGoes(report: BenchReport): Markup {
  const description = `Shares of the time of a request for ${report.times.map(({ title }) => title).join(', ')}. All numbers stand in the table below.`;
  const below = html`${timesLegend(report)}${timesTable(report)}`;
  return html`<section aria-labelledby="times-head"><h2 id="times-head">Where the time of a request goes</h2>
<p>Each bar is one request, however long; its length in time stands at its end.</p>
${figure({ id: 'times', title: 'Where the time of a request goes', description, below }, (canvas) => timesPlot(report, canvas))}</section>`;
}

function single(report: BenchReport): Markup {
  const clocks = report.variants.map(({ latency }) => latency.clock);
  const clock = clocks.length === 0 ? 0 : Math.max(...clocks);
  return html`<section aria-labelledby="single-head"><h2 id="single-head">Single requests</h2>
<p>Timed one by one after the timed phase; medians of all rounds. Reading the clock, ${span(clock)}, is part of each.</p>
${latencyTable(report)}${proofTable(report)}</section>`;
}

function quality(report: BenchReport): Markup {
  const known = report.quality.flatMap(({ id, tests }) =>
    tests.filter((test) => test.known !== undefined && !test.passed).map((test) => ({ id, test })),
  );
  return html`<section aria-labelledby="quality-head"><h2 id="quality-head">Are the numbers random?</h2>
<p>${qualityText(report)}</p>
${known.map(({ id, test }) => html`<p><strong>${id}, ${test.id}:</strong> ${test.known ?? ''}</p>`)}
${qualityTable(report)}</section>`;
}

function facts({ host, machine, method, variants }: BenchReport): Markup {
  const sizes = [...new Set(variants.map(({ size }) => sizeText(size)))].join(', ');
  const rows: [string, string][] = [
    ['Host', `${host.cpus} × ${host.cpu}, Linux ${host.kernel}, Node ${host.node}`],
    ['Load of the host', `${host.load[0].toFixed(2)} before, ${host.load[1].toFixed(2)} at the end`],
    ['Accelerator', machine.accelerator],
    ['Machine', `${machine.name}, profile ${machine.profile}, variant ${machine.variant}`],
    ...Object.entries(machine.made),
    ['Rounds', `${method.rounds}; each visits all variants, every round in another order`],
    [
      'Measurements',
      `${method.seconds} s each, after ${Number(method.warmUp.toFixed(3))} s of warm-up that do not count; requests of ${sizes}; each gives the median of batches of about a millisecond, so that what else the host did in some of them does not count`,
    ],
    [
      'Statistics',
      'medians of the rounds; spread as quartiles; ratios of medians with the 95 % interval of 2000 bootstrap resamples of whole rounds',
    ],
    ...method.notes.map((note): [string, string] => ['Note', note]),
  ];
  const items = rows.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`);
  return html`<section aria-labelledby="facts-head"><h2 id="facts-head">How this was measured</h2><dl class="facts">${items}</dl></section>`;
}
