import type { CodeExcerpt } from '../grade-report.js';
import { oneLine, shorten, visible, visibleLines } from './text.js';

const MOST_LINES = 60;
const MOST_IN_BLOCK = 400;
const MOST_IN_LINE = 600;

/** Any text as one line of Markdown that shows exactly that text: no markup, links, images or HTML come out of it. */
export function prose(text: string): string {
  return shorten(oneLine(text), MOST_IN_LINE)
    .replace(/[\\`*{}[\]|~#!]/g, '\\$&')
    .replace(/(?<![\p{L}\d])_|_(?![\p{L}\d])/gu, '\\_') // within a word it means nothing
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('://', '&#58;//')
    .replace(/^(\d+)([.)])/, '$1\\$2')
    .replace(/^[-+=]/, '\\$&');
}

/** Any text as an inline code span, also within a table. */
export function span(text: string, most = MOST_IN_LINE): string {
  const plain = shorten(oneLine(text), most).replaceAll('|', '¦');
  const ticks = fence(plain, 1);
  const blank = plain.startsWith('`') || plain.endsWith('`') || plain === '' ? ' ' : '';
  return `${ticks}${blank}${plain}${blank}${ticks}`;
}

/** Any lines as a fenced block. Nothing in them can end it. */
export function block(texts: readonly string[], language = ''): string[] {
  const lines = visibleLines(texts, MOST_IN_BLOCK, MOST_LINES);
  const ticks = fence(lines.join('\n'), 3);
  return [`${ticks}${language}`, ...lines, ticks];
}

/** Source with line numbers; an arrow before the lines meant. */
export function excerpt({ path, from, lines, marked }: CodeExcerpt): string[] {
  const width = String(from + lines.length).length;
  const numbered = lines.map((line, index) => {
    const at = from + index;
    return `${marked.includes(at) ? '→' : ' '} ${String(at).padStart(width)}  ${visible(line).replaceAll('\n', ' ')}`;
  });
  const where = marked.length === 0 ? '' : `, line ${marked.join(', ')}`;
  return [`In ${span(path)}${where}:`, '', ...block(numbered, 'c')];
}

/** A row of backticks, longer than any in the text. */
function fence(text: string, least: number): string {
  const longest = Math.max(0, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  return '`'.repeat(Math.max(least, longest + 1));
}
