import type { Remark } from './sort-out.js';

/**
 * Blanks that reviewers object to, in the lines that a patch adds: at the end of a line, and before a tab.
 *
 * @param patch as `writePatchOf` gives it.
 * @returns one remark per file.
 */
export function whitespaceErrors(patch: string): Remark[] {
  const lines = new Map<string, number[]>();
  let path = '';
  let line = 0;
  for (const text of patch.split('\n')) {
    const hunk = /^@@ -\S+ \+(\d+)/.exec(text);
    if (text.startsWith('+++ ')) path = text.replace(/^\+\+\+ (b\/)?/, '');
    else if (hunk !== null) line = Number(hunk[1]) - 1;
    else if (/^[+ ]/.test(text)) line += 1;
    if (/^\+(?!\+\+ )(.*[ \t]|[ \t]* \t.*)\r?$/.test(text))
      lines.set(path, [...(lines.get(path) ?? []), line]);
  }
  return [...lines].map(([file, numbers]) => {
    const shown = numbers.slice(0, 5).join(', ');
    const more = numbers.length > 5 ? ' and more' : '';
    return { path: file, why: `blanks at the end of a line or before a tab: line ${shown}${more}` };
  });
}
