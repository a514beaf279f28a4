import type { Hunk } from './patch.js';

/**
 * A file with the lines that a hunk adds, for a hunk whose context is that of another version: each block of added
 * lines goes next to the nearest line of its context that occurs exactly once, or to the end when the hunk ended there.
 * Undefined for a hunk that removes lines, and where no such line is left.
 *
 * @param text LF, one character per byte.
 */
export function relocate(text: string, hunk: Hunk): string | undefined {
  if (hunk.lines.some((line) => line.startsWith('-') || line.startsWith('\\'))) return undefined;
  let lines = text.split('\n');
  for (const block of blocksOf(hunk.lines)) {
    const at = placeOf(block, lines);
    if (at === undefined) return undefined;
    lines = [...lines.slice(0, at), ...block.added, ...lines.slice(at)];
  }
  return lines.join('\n');
}

interface Block {
  /** The nearest line of context that is not blank, on either side. */
  readonly before: string | undefined;
  readonly after: string | undefined;
  readonly added: readonly string[];
}

function blocksOf(lines: readonly string[]): Block[] {
  const isContext = (line: string) => line.startsWith(' ') && line.trim() !== '';
  return lines.flatMap((line, from) => {
    if (!line.startsWith('+') || lines[from - 1]?.startsWith('+')) return [];
    const length = lines.slice(from).findIndex((next) => !next.startsWith('+'));
    const to = length === -1 ? lines.length : from + length;
    return [
      {
        before: lines.slice(0, from).findLast(isContext)?.slice(1),
        after: lines.slice(to).find(isContext)?.slice(1),
        added: lines.slice(from, to).map((added) => added.slice(1)),
      },
    ];
  });
}

function placeOf({ before, after }: Block, lines: readonly string[]): number | undefined {
  const [above, below] = [onlyPlace(before, lines), onlyPlace(after, lines)];
  if (above !== undefined && below !== undefined && above >= below) return undefined;
  if (above !== undefined) return above + 1;
  if (below !== undefined) return below;
  if (after !== undefined) return undefined;
  return lines.at(-1) === '' ? lines.length - 1 : lines.length;
}

function onlyPlace(wanted: string | undefined, lines: readonly string[]): number | undefined {
  if (wanted === undefined) return undefined;
  const squeezed = wanted.trim().replace(/[ \t]+/g, ' ');
  const places = lines.flatMap((line, i) => (line.trim().replace(/[ \t]+/g, ' ') === squeezed ? [i] : []));
  return places.length === 1 ? places[0] : undefined;
}
