import { html, type Markup } from '../../grade/render/html-template.js';
import type { BenchReport, VariantResult } from '../report.js';
import { type Canvas, type Drawing, line, round, text } from './plot.js';
import { decades, type LogScale } from './scale.js';
import { rate, tick, times } from './units.js';

const HEAD = 26;
const FOOT = 10;

/** Where things of a plot lie. */
interface Layout {
  readonly left: number;
  readonly right: number;
  readonly row: number;
  readonly scale: LogScale;
  readonly bottom: number;
}

/** A row per variant: the median as a dot, the quartiles as a bar, the extremes as a thin line. */
export function throughputPlot({ variants, yardstick }: BenchReport, canvas: Canvas): Drawing {
  const row = canvas.narrow ? 42 : 28;
  const [left, right] = canvas.narrow ? [8, canvas.width - 14] : [215, canvas.width - 190];
  const bottom = HEAD + row * variants.length;
  const values = variants.flatMap(({ bytesPerSecond: { min, max } }) => [min, max]);
  const layout = { left, right, row, bottom, scale: decades(values, left, right) };
  const body = html`${axis(layout, canvas)}
${yardstickLine(variants, yardstick, layout)}
${variants.map((variant, index) => variantRow(variant, HEAD + row * index, layout, canvas, variant.id === yardstick))}`;
  return { height: bottom + FOOT, body };
}

function axis({ scale, bottom }: Layout, { narrow }: Canvas): Markup[] {
  return scale.ticks.map((speed, index) => {
    const last = index === scale.ticks.length - 1;
    const anchor = narrow && last ? 'end' : narrow && index === 0 ? 'start' : 'middle';
    const label = narrow && index % 2 === 1 && !last ? '' : tick(speed);
    const shown = narrow && last && scale.ticks.length % 2 === 0 ? '' : label;
    return html`${line(scale.at(speed), HEAD - 6, scale.at(speed), bottom, 'grid')}${text(scale.at(speed), 14, shown, { anchor, kind: 'axis' })}`;
  });
}

function yardstickLine(variants: readonly VariantResult[], id: string, { scale, bottom }: Layout): Markup {
  const found = variants.find((variant) => variant.id === id);
  if (found === undefined) return html``;
  const x = scale.at(found.bytesPerSecond.median);
  return line(x, HEAD - 6, x, bottom, 'yardstick');
}

function variantRow(
  { id, title, bytesPerSecond, ratio }: VariantResult,
  top: number,
  { left, right, row, scale }: Layout,
  { narrow, width }: Canvas,
  isYardstick: boolean,
): Markup {
  const middle = narrow ? top + 29 : top + row / 2;
  const { median, lowerQuartile, upperQuartile, min, max } = bytesPerSecond;
  const x = scale.at(median);
  const value = html`<tspan class="strong">${rate(median)}</tspan>`;
  const against = isYardstick ? 'yardstick' : times(ratio.value);
  const words = narrow
    ? html`<text x="${left}" y="${round(top + 15)}">${title}</text><text x="${right}" y="${round(top + 15)}" text-anchor="end">${value}<tspan class="axis" dx="8">${against}</tspan></text>`
    : html`<text x="${left - 14}" y="${round(middle + 4.5)}" text-anchor="end">${title}</text><text x="${width - 92}" y="${round(middle + 4.5)}" text-anchor="end">${value}</text><text x="${width - 6}" y="${round(middle + 4.5)}" text-anchor="end" class="axis">${against}</text>`;
  return html`<g class="${isYardstick ? 'row own' : 'row'}" data-variant="${id}"><title>${title}: median ${rate(median)}, quartiles ${rate(lowerQuartile)} to ${rate(upperQuartile)}, range ${rate(min)} to ${rate(max)}</title>
${words}${line(left, middle, x, middle, 'stem')}${line(scale.at(min), middle, scale.at(max), middle, 'extremes')}${quartiles(scale.at(lowerQuartile), scale.at(upperQuartile), middle)}<circle cx="${round(x)}" cy="${round(middle)}" r="5" class="median"/></g>
`;
}

/** Caps stand free of the median's dot, however small the spread is. */
function quartiles(from: number, to: number, middle: number): Markup {
  return html`${line(from, middle, to, middle, 'quartiles')}${line(from, middle - 5, from, middle + 5, 'cap')}${line(to, middle - 5, to, middle + 5, 'cap')}`;
}
