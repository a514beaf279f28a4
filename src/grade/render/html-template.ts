import { visible, xml } from './text.js';

/** Markup that may stand in a page as it is. Only `html` makes it, so that all other text gets escaped. */
export class Markup {
  private constructor(readonly text: string) {}

  static make(parts: readonly string[], values: readonly Value[]): Markup {
    return new Markup(parts.map((part, index) => part + render(values[index])).join(''));
  }
}

type Value = string | number | false | undefined | Markup | readonly Value[];

function render(value: Value): string {
  if (value === undefined || value === false) return '';
  if (value instanceof Markup) return value.text;
  if (typeof value === 'object') return value.map(render).join('');
  return xml(visible(String(value)));
}

/** A piece of a page. What is put in is escaped, for text and for quoted attributes, unless it is `Markup`. */
export function html(parts: TemplateStringsArray, ...values: readonly Value[]): Markup {
  return Markup.make(parts, values);
}

/** A constant of this program as `Markup`, for what must not be escaped: styles and scripts. */
export function constant(text: string): Markup {
  return Markup.make([text], []);
}

/** A link to a place below the report; `undefined` for a path that would lead out of its folder. */
export function hrefBelow(...paths: readonly string[]): string | undefined {
  const names = paths.flatMap((path) => path.split('/')).filter((name) => name !== '' && name !== '.');
  if (names.includes('..')) return undefined;
  return `./${names.map((name) => encodeURIComponent(name.toWellFormed())).join('/')}`;
}

/** The path as a link, or as mere text where it leads out of the report's folder. */
export function linkBelow(label: string, ...paths: readonly string[]): Markup {
  const href = hrefBelow(...paths);
  return href === undefined ? html`<code>${label}</code>` : html`<a href="${href}"><code>${label}</code></a>`;
}
