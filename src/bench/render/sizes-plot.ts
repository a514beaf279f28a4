import { html, type Markup } from '../../grade/render/html-template.js';
import type { BenchReport, SizeLine } from '../report.js';
import { type Canvas, type Drawing, line, round, sign, text } from './plot.js';
import { decades, type LogScale, powersOfFour } from './scale.js';
import { rate, sizeText, tick } from './units.js';

const LABEL = 17;

interface Layout {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
  readonly x: LogScale;
  readonly y: LogScale;
}

/** A line per way of reading, over the size of a read; both axes are logarithmic. */
export function sizesPlot({ sizes }: BenchReport, canvas: Canvas): Drawing {
  const layout = layOut(sizes, canvas);
  const body = html`${axes(layout)}${sizes.map((one, index) => sizeLine(one, index, layout))}${canvas.narrow ? html`` : labels(sizes, layout)}`;
  return { height: layout.bottom + 44, body };
}

function layOut(sizes: readonly SizeLine[], { narrow, width }: Canvas): Layout {
  const points = sizes.flatMap((one) => one.points);
  const [left, right] = narrow ? [66, width - 16] : [84, width - 190];
  const [top, bottom] = narrow ? [12, 272] : [14, 394];
  const values = points.flatMap(({ bytesPerSecond: { lowerQuartile, upperQuartile } }) => [
    lowerQuartile,
    upperQuartile,
  ]);
  const x = powersOfFour(
    points.map(({ size }) => size),
    narrow ? 3 : 1,
    left,
    right,
  );
  return { left, right, top, bottom, x, y: decades(values, bottom, top) };
}

function axes({ left, right, top, bottom, x, y }: Layout): Markup {
  const vertical = x.ticks.map(
    (size) =>
      html`${line(x.at(size), top, x.at(size), bottom, 'grid')}${text(x.at(size), bottom + 18, sizeText(size), { anchor: 'middle', kind: 'axis' })}`,
  );
  const horizontal = y.ticks.map(
    (speed) =>
      html`${line(left, y.at(speed), right, y.at(speed), 'grid')}${text(left - 8, y.at(speed) + 4.5, tick(speed), { anchor: 'end', kind: 'axis' })}`,
  );
  const name = text((left + right) / 2, bottom + 38, 'bytes of a request', {
    anchor: 'middle',
    kind: 'axis',
  });
  return html`${vertical}${horizontal}${name}`;
}

function sizeLine({ id, title, points }: SizeLine, index: number, { x, y }: Layout): Markup {
  const path = points.map(
    ({ size, bytesPerSecond: { median } }) => `${round(x.at(size))},${round(y.at(median))}`,
  );
  const marks = points.map(({ size, bytesPerSecond: { median, lowerQuartile, upperQuartile } }) => {
    const at = x.at(size);
    return html`<g>${line(at, y.at(lowerQuartile), at, y.at(upperQuartile), `cap s${index}`)}${sign(index, at, y.at(median))}<title>${title}, ${sizeText(size)}: ${rate(median)}</title></g>`;
  });
  return html`<g data-variant="${id}"><polyline points="${path.join(' ')}" class="series s${index}"/>${marks}</g>
`;
}

/** Names at the ends of their lines, moved apart where they would touch. */
function labels(sizes: readonly SizeLine[], { right, top, bottom, y }: Layout): Markup[] {
  const ends = sizes
    .map(({ title, points }, index) => ({ title, index, y: y.at(points.at(-1)?.bytesPerSecond.median ?? 1) }))
    .sort((a, b) => a.y - b.y);
  const places = spread(
    ends.map((end) => end.y),
    top,
    bottom,
  );
  return ends.map(({ title, index, y: from }, i) => {
    const to = places[i] ?? from;
    return html`<path d="M${round(right + 7)} ${round(from)}L${round(right + 18)} ${round(to)}" class="leader s${index}"/>${text(right + 23, to + 4.5, title, { kind: `name s${index}` })}`;
  });
}

/** Keeps places in their order and at least a line of text apart, as near to where they belong as that allows. */
export function spread(places: readonly number[], top: number, bottom: number): number[] {
  const down: number[] = [];
  for (const place of places) down.push(Math.max(place, (down.at(-1) ?? top - LABEL) + LABEL));
  const up: number[] = [];
  for (const place of down.toReversed()) up.push(Math.min(place, (up.at(-1) ?? bottom + LABEL) - LABEL));
  return up.reverse();
}
