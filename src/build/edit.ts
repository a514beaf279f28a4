import { type Blame, LabError } from '../errors.js';
import type { EditPlace } from './contribution.js';

export interface EditTarget {
  /** Path of the edited file, for messages. */
  readonly path: string;
  readonly blame: Blame;
}

/**
 * `content` with the lines of `text` inserted at `where`.
 *
 * @throws LabError `build/anchor` when the anchor does not occur exactly once; the evidence is the nearest lines.
 */
export function insertText(content: string, where: EditPlace, text: string, target: EditTarget): string {
  const block = text.endsWith('\n') ? text : `${text}\n`;
  if (where === 'end') return `${content}${content === '' || content.endsWith('\n') ? '' : '\n'}${block}`;
  const after = 'after' in where;
  const anchor = trimmedLines(after ? where.after : where.before);
  const lines = content.split('\n');
  const places = occurrences(lines, anchor);
  const [place] = places;
  if (place === undefined || places.length > 1) throw notOnce(lines, anchor, places, target);
  const at = after ? place + anchor.length : place;
  const head = lines.slice(0, at).map((line) => `${line}\n`);
  return `${head.join('')}${block}${lines.slice(at).join('\n')}`;
}

function trimmedLines(anchor: string): string[] {
  return anchor.trim().split('\n').map(squeeze);
}

/** Blanks at both ends do not count, and any run of blanks inside counts as one: tabs against spaces. */
function squeeze(line: string): string {
  return line.trim().replace(/\s+/g, ' ');
}

function occurrences(lines: readonly string[], anchor: readonly string[]): number[] {
  return lines.flatMap((_, i) =>
    anchor.every((line, j) => squeeze(lines[i + j] ?? '\0') === line) ? [i] : [],
  );
}

function notOnce(
  lines: readonly string[],
  anchor: readonly string[],
  places: readonly number[],
  target: EditTarget,
): LabError {
  const found = places.length === 0 ? nearest(lines, anchor[0] ?? '') : places;
  return new LabError({
    code: 'build/anchor',
    blame: target.blame,
    fact:
      places.length === 0
        ? `the place for an edit was not found in ${target.path}: no line "${anchor.join(' / ')}"`
        : `the place for an edit of ${target.path} is not unique: ${places.length} lines "${anchor.join(' / ')}"`,
    evidence: found.map((i) => `${target.path}:${i + 1}: ${lines[i] ?? ''}`),
    next: 'use a supported version of the source, or adapt the edit to this one',
  });
}

/** The three lines that share the most words with `wanted`, in file order. */
function nearest(lines: readonly string[], wanted: string): number[] {
  const words = new Set(wanted.match(/\w+/g) ?? []);
  const scored = lines.map((line, i) => {
    const own = new Set(line.match(/\w+/g) ?? []);
    const shared = [...own].filter((word) => words.has(word)).length;
    return { i, score: shared / Math.max(1, words.size + own.size - shared) };
  });
  return scored
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score || a.i - b.i)
    .slice(0, 3)
    .map(({ i }) => i)
    .sort((a, b) => a - b);
}
