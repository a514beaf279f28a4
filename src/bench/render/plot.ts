import { html, type Markup } from '../../grade/render/html-template.js';

/** Each plot is drawn for a wide and for a narrow page, so that its text has its size on both. */
export interface Canvas {
  readonly width: number;
  readonly narrow: boolean;
}

const CANVASES: readonly Canvas[] = [
  { width: 960, narrow: false },
  { width: 352, narrow: true },
];

export interface Drawing {
  readonly height: number;
  readonly body: Markup;
}

/**
 * A plot in a figure. `id` names it in the page; `title` and `description` are what a screen reader says. `below`
 * stands under the plot: the legend, and the table of its numbers.
 */
export function figure(
  { id, title, description, below }: { id: string; title: string; description: string; below: Markup },
  draw: (canvas: Canvas) => Drawing,
): Markup {
  const drawings = CANVASES.map((canvas) => {
    const { height, body } = draw(canvas);
    const name = `${id}-${canvas.narrow ? 'narrow' : 'wide'}`;
    return html`<svg class="${canvas.narrow ? 'narrow' : 'wide'}" viewBox="0 0 ${canvas.width} ${round(height)}" role="img" aria-labelledby="${name}-title ${name}-text">
<title id="${name}-title">${title}</title><desc id="${name}-text">${description}</desc>
${body}</svg>
`;
  });
  return html`<figure class="plot" id="${id}">${drawings}${below}</figure>`;
}

/** Coordinates need no more than tenths of a pixel. */
export function round(value: number): number {
  return Math.round(value * 10) / 10;
}

export function text(
  x: number,
  y: number,
  words: string,
  { anchor = 'start', kind = '' }: { anchor?: 'start' | 'middle' | 'end'; kind?: string } = {},
): Markup {
  return html`<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" class="${kind}">${words}</text>`;
}

export function line(x1: number, y1: number, x2: number, y2: number, kind: string): Markup {
  return html`<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" class="${kind}"/>`;
}

/** About how wide words are at the plots' size of text. */
export function widthOf(words: string): number {
  return words.length * 7.1;
}

/** A sign of a line's own form, so that lines are told apart without colours as well. */
export function sign(series: number, x: number, y: number): Markup {
  const [cx, cy] = [round(x), round(y)];
  const kind = `sign s${series}`;
  switch (series % 4) {
    case 0:
      return html`<circle cx="${cx}" cy="${cy}" r="4" class="${kind}"/>`;
    case 1:
      return html`<rect x="${round(cx - 3.6)}" y="${round(cy - 3.6)}" width="7.2" height="7.2" class="${kind}"/>`;
    case 2:
      return html`<path d="M${cx} ${round(cy - 5.2)}l5.2 5.2-5.2 5.2-5.2-5.2z" class="${kind}"/>`;
    default:
      return html`<path d="M${cx} ${round(cy - 4.8)}l4.8 8.6h-9.6z" class="${kind}"/>`;
  }
}
