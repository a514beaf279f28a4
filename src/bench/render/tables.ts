import { html, type Markup } from '../../grade/render/html-template.js';
import type { BenchReport, Quality } from '../report.js';
import { nameOf } from './times-plot.js';
import { digits, large, range, rate, sizeText, span, times } from './units.js';

/** A number of the report as it stands there, with how it is written for people. */
function exact(value: number, words: string): Markup {
  return html`<data value="${value}">${words}</data>`;
}

/** Columns that hold sentences. */
const WORDS = new Set(['how']);

const absent = html`<span class="quiet">not measurable</span>`;

function table(caption: string, head: readonly string[], rows: readonly Markup[]): Markup {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table><caption>${caption}</caption>
<thead><tr>${head.map((title) => html`<th scope="col" class="${WORDS.has(title) ? 'words' : ''}">${title}</th>`)}</tr></thead>
<tbody>
${rows}</tbody></table></div>`;
}

/** Speed and cost of each variant. */
export function variantTable({ variants, yardstick }: BenchReport): Markup {
  const head = [
    ...['variant', 'request', 'bytes per second', 'quartiles', `against ${yardstick} (95 % interval)`],
    ...['numbers per second', 'system calls per number', 'accesses per number', 'interrupts per request'],
  ];
  const rows = variants.map(
    (
      variant,
    ) => html`<tr data-variant="${variant.id}"><th scope="row">${variant.title}<span class="quiet">${variant.summary}</span></th>
<td>${sizeText(variant.size)}</td>
<td class="speed">${exact(variant.bytesPerSecond.median, rate(variant.bytesPerSecond.median))}</td>
<td>${rate(variant.bytesPerSecond.lowerQuartile)} to<br>${rate(variant.bytesPerSecond.upperQuartile)}</td>
<td class="ratio">${exact(variant.ratio.value, times(variant.ratio.value))}<br><span class="quiet">${range(variant.ratio)}</span></td>
<td>${exact(variant.numbersPerSecond, large(variant.numbersPerSecond, ''))}</td>
<td>${exact(variant.callsPerNumber, digits(variant.callsPerNumber))}</td>
<td>${optional(variant.accessesPerNumber)}</td><td>${optional(variant.interruptsPerRequest)}</td></tr>
`,
  );
  return table('Throughput of each variant', head, rows);
}

function optional(value: number | null): Markup {
  return value === null ? absent : exact(value, digits(value));
}

/** How long single requests took, and what they cost the guest. */
export function latencyTable({ variants }: BenchReport): Markup {
  const head = ['variant', 'request', 'half', '90 %', '99 %', '99.9 %', 'longest', 'sleeps', 'page faults'];
  const rows = variants.map(
    ({ title, size, latency: { p50, p90, p99, p999, max }, sleepsPerRequest, faultsPerRequest }) =>
      html`<tr><th scope="row">${title}</th><td>${sizeText(size)}</td>${[p50, p90, p99, p999, max].map((value) => html`<td>${exact(value, span(value))}</td>`)}<td>${digits(sleepsPerRequest)}</td><td>${digits(faultsPerRequest)}</td></tr>
`,
  );
  return table('How long single requests took, in the guest', head, rows);
}

export function sizesTable({ sizes }: BenchReport): Markup {
  const all = [...new Set(sizes.flatMap(({ points }) => points.map(({ size }) => size)))].sort(
    (a, b) => a - b,
  );
  const rows = all.map(
    (size) =>
      html`<tr><th scope="row">${sizeText(size)}</th>${sizes.map(({ points }) => {
        const speed = points.find((point) => point.size === size)?.bytesPerSecond.median;
        return html`<td>${speed === undefined ? html`` : exact(speed, rate(speed))}</td>`;
      })}</tr>
`,
  );
  return table(
    'Bytes per second by size of a request',
    ['request', ...sizes.map(({ title }) => title)],
    rows,
  );
}

export function timesTable({ times: splits, terms }: BenchReport): Markup {
  const used = terms.filter(({ kind }) =>
    splits.some(({ parts }) => parts.some((part) => part.kind === kind)),
  );
  const rows = splits.map(
    ({ title, size, nanoseconds, parts, remark }) =>
      html`<tr><th scope="row">${title}${remark !== undefined && html`<span class="quiet">${remark}</span>`}</th><td>${sizeText(size)}</td><td>${exact(nanoseconds, span(nanoseconds))}</td>${used.map(
        ({ kind }) => {
          const part = parts.find((one) => one.kind === kind);
          return html`<td>${part === undefined ? html`` : exact(part.nanoseconds, span(part.nanoseconds))}</td>`;
        },
      )}</tr>
`,
  );
  const head = ['variant', 'request', 'in all', ...used.map(({ name }) => name)];
  return table('Time of a request by where it is spent', head, rows);
}

/** The parts of a request's time with their signs. */
export function timesLegend({ times: splits, terms }: BenchReport): Markup {
  const used = terms.filter(({ kind }) =>
    splits.some(({ parts }) => parts.some((part) => part.kind === kind)),
  );
  const items = used.map(
    (term) =>
      html`<div><dt><i class="swatch ${term.kind}" aria-hidden="true"></i>${nameOf(term, terms)}</dt><dd>${term.meaning}</dd></div>`,
  );
  return html`<dl class="terms">${items}</dl>`;
}

/** What the guest got against what the device says that it gave. */
export function proofTable({ variants }: BenchReport): Markup {
  const rows = variants.map(({ title, proof }) => {
    const verdict = proof.agrees === null ? 'nothing to compare' : proof.agrees ? '✓ agrees' : '✗ differs';
    const counted =
      proof.deviceBytes === null ? absent : exact(proof.deviceBytes, digits1000(proof.deviceBytes));
    return html`<tr><th scope="row">${title}</th><td>${exact(proof.guestBytes, digits1000(proof.guestBytes))}</td><td>${counted}</td><td class="${proof.agrees === false ? 'bad' : ''}">${verdict}</td><td class="words">${proof.text}</td></tr>
`;
  });
  return table(
    "The guest's bytes against the device's counters",
    ['variant', 'bytes in the guest', 'bytes of the device', '', 'how'],
    rows,
  );
}

function digits1000(value: number): string {
  return value.toLocaleString('en').replaceAll(',', '\u202f');
}

/** A column per generator, a row per test. */
export function qualityTable({ quality }: BenchReport): Markup {
  const [first] = quality;
  if (first === undefined) return html``;
  const rows = first.tests.map(
    ({ id, title, source }) =>
      html`<tr><th scope="row">${id}<span class="quiet">${title}; ${source}</span></th>${quality.map((one) => qualityCell(one, id))}</tr>
`,
  );
  const head = ['test', ...quality.map(({ id, width }) => `${id} (${width} bits)`)];
  return table('p-values of the tests, two-sided', head, rows);
}

function qualityCell({ tests }: Quality, id: string): Markup {
  const found = tests.find((test) => test.id === id);
  if (found === undefined) return html`<td></td>`;
  const { p, passed, known } = found;
  const words = p < 1e-4 ? p.toExponential(1) : digits(p);
  const kind = passed ? '' : known === undefined ? 'bad' : 'known';
  return html`<td class="${kind}">${exact(p, words)}${!passed && html` <span class="tag">${known === undefined ? 'fails' : 'known'}</span>`}</td>`;
}

/** The false alarm rate and what was looked at, in a sentence. */
export function qualityText({ quality }: BenchReport): string {
  const [first] = quality;
  if (first === undefined) return '';
  const { bytes, threshold, falseAlarm, tests } = first;
  return `${sizeText(bytes)} of each generator. A test fails when its p is below ${threshold.toExponential(1)}; then a perfect generator fails any of the ${tests.length} tests with a probability below ${falseAlarm.toExponential(1)}. Bits above a generator's width are dropped: the C library's numbers have 31 bits, their top bit is always 0.`;
}
