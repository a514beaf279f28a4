import type { Section } from './patch.js';
import type { Recognised } from './recognise.js';
import type { WholeFileRule } from './rules.js';
import { type AddedBlock, addedBlocks, changedSection, type DiffContext } from './sections.js';

export interface TakenFile {
  readonly section?: Section;
  /** What was done, in a sentence. */
  readonly said: string;
}

/** Larger texts are no file of a source tree. */
const LARGEST = 1_000_000;

/**
 * A whole file of the tree, as the student has changed it. Of a file from another version only the lines are taken
 * that the student must have added.
 */
export async function takeWholeFile(
  rule: WholeFileRule,
  { name, text }: Recognised,
  pristine: string,
  context: DiffContext,
): Promise<TakenFile> {
  if (text.length > LARGEST) return { said: `${name} was left out: it is too large to be ${rule.path}` };
  const blocks = await addedBlocks(pristine, text, context);
  const changed = blocks.reduce((sum, { lines, removed }) => sum + lines.length + removed, 0);
  if (changed === 0) return { said: `${name} is ${rule.path} without a change` };
  if (changed <= rule.most) {
    const section = await changedSection(rule.path, pristine, text, context);
    return {
      ...(section === undefined ? {} : { section }),
      said: `${name} was taken as a change of ${rule.path}`,
    };
  }
  const merged = withOwnLines(rule, pristine, blocks);
  const section =
    merged === undefined ? undefined : await changedSection(rule.path, pristine, merged, context);
  const other = `${name} differs from ${rule.path} in ${changed} lines and so comes from another version`;
  if (section === undefined)
    return { said: `${other}; it was left out: no lines could be told to be the exercise's` };
  return { section, said: `${other}; only the lines that belong to the exercise were taken over` };
}

function withOwnLines(
  rule: WholeFileRule,
  pristine: string,
  blocks: readonly AddedBlock[],
): string | undefined {
  const lines = pristine.split('\n');
  const body = bodyOf(rule.inside, lines);
  const own = blocks.filter(({ after, lines: added, removed }) => {
    const inside = removed === 0 && after >= body.from && after < body.to;
    return inside || added.some((line) => rule.concerns.test(line));
  });
  const text = own.flatMap(({ lines: added }) => added).join('\n');
  if (!rule.concerns.test(text) || !isBalanced(text)) return undefined;
  const insertions = new Map(own.map(({ after, lines: added }) => [after, added]));
  return [
    ...(insertions.get(0) ?? []),
    ...lines.flatMap((line, i) => [line, ...(insertions.get(i + 1) ?? [])]),
  ].join('\n');
}

/** Numbers of the lines of a function, from its name to the brace in the first column. */
function bodyOf(name: string, lines: readonly string[]): { readonly from: number; readonly to: number } {
  const start = lines.findIndex(
    (line, i) => line.includes(`${name}(`) && /^\w/.test(line) && !declares(lines, i),
  );
  const end = lines.findIndex((line, i) => i > start && line.startsWith('}'));
  return start === -1 || end === -1 ? { from: 0, to: 0 } : { from: start + 1, to: end + 1 };
}

function declares(lines: readonly string[], at: number): boolean {
  return (lines[at] ?? '').trimEnd().endsWith(';');
}

function isBalanced(text: string): boolean {
  let depth = 0;
  for (const char of text) {
    depth += char === '{' ? 1 : char === '}' ? -1 : 0;
    if (depth < 0) return false;
  }
  return depth === 0;
}
