import { html, type Markup } from '../../grade/render/html-template.js';
import type { BenchReport, Term, TimePart, TimeSplit } from '../report.js';
import { type Canvas, type Drawing, line, round, text, widthOf } from './plot.js';
import { percent, sizeText, span } from './units.js';

const HEAD = 26;
const FOOT = 10;
const BAR = 18;

/** A bar of 100 % per variant: where the time of a request goes. */
export function timesPlot({ times, terms }: BenchReport, canvas: Canvas): Drawing {
  const row = canvas.narrow ? 44 : 30;
  const [left, right] = canvas.narrow ? [8, canvas.width - 8] : [270, canvas.width - 100];
  const bottom = HEAD + row * times.length;
  const at = (share: number) => left + (right - left) * share;
  const grid = [0, 0.25, 0.5, 0.75, 1].map((share, index) => {
    const anchor = canvas.narrow
      ? (['start', 'middle', 'middle', 'middle', 'end'] as const)[index]
      : 'middle';
    return html`${line(at(share), HEAD - 6, at(share), bottom, 'grid')}${text(at(share), 14, `${share * 100} %`, { anchor: anchor ?? 'middle', kind: 'axis' })}`;
  });
  const rows = times.map((split, index) => {
    const top = HEAD + row * index;
    return html`<g data-variant="${split.id}">${names(split, top, row, left, right, canvas)}${segments(split, top + (canvas.narrow ? 20 : (row - BAR) / 2), at, terms)}</g>
`;
  });
  return { height: bottom + FOOT, body: html`${grid}${rows}` };
}

function names(
  { title, size, nanoseconds }: TimeSplit,
  top: number,
  row: number,
  left: number,
  right: number,
  { narrow, width }: Canvas,
): Markup {
  const name = html`${title}<tspan class="axis" dx="6">${sizeText(size)}</tspan>`;
  const y = narrow ? top + 14 : top + row / 2 + 4.5;
  return html`<text x="${narrow ? left : left - 14}" y="${round(y)}" text-anchor="${narrow ? 'start' : 'end'}">${name}</text>${text(narrow ? right : width - 6, y, span(nanoseconds), { anchor: 'end', kind: 'strong' })}`;
}

function segments(
  { parts, title }: TimeSplit,
  top: number,
  at: (share: number) => number,
  terms: readonly Term[],
): Markup[] {
  const total = parts.reduce((sum, { nanoseconds }) => sum + nanoseconds, 0);
  let done = 0;
  return parts.map((part) => {
    const share = part.nanoseconds / total;
    const [x, end] = [at(done), at(done + share)];
    done += share;
    return segment(part, share, { x, width: end - x, top }, `${title}: ${nameOf(part, terms)}`);
  });
}

function segment(
  { kind, nanoseconds }: TimePart,
  share: number,
  { x, width, top }: { x: number; width: number; top: number },
  name: string,
): Markup {
  const words = percent(share);
  const label =
    width < widthOf(words) + 8
      ? html``
      : text(x + width / 2, top + BAR / 2 + 4.5, words, { anchor: 'middle', kind: `on ${kind}` });
  return html`<g><rect x="${round(x)}" y="${round(top)}" width="${round(Math.max(0, width - 1))}" height="${BAR}" class="part ${kind}"/>${label}<title>${name}, ${span(nanoseconds)} (${percent(share)})</title></g>`;
}

export function nameOf({ kind }: Pick<TimePart, 'kind'>, terms: readonly Term[]): string {
  return terms.find((term) => term.kind === kind)?.name ?? kind;
}
