import type { BuildFileRule } from './rules.js';

/**
 * What a student's copy of a build file adds for the exercise: whole `config` stanzas or whole statements that concern
 * it and are not in the pristine file. The copy may be of another version, or hold the addition alone. Undefined when
 * there is none, or when it is part of a longer statement of the tree's own.
 */
export function addedPieces(rule: BuildFileRule, text: string, pristine: string): string | undefined {
  const cut = rule.syntax === 'kconfig' ? stanzas : statements;
  const known = new Set(cut(pristine).map(squeezed));
  const added = cut(text).filter((piece) => rule.concerns.test(piece) && !known.has(squeezed(piece)));
  const own = added.filter((piece) => !mixes(piece, rule, pristine));
  if (own.length === 0) return undefined;
  const joined = `${own.map((piece) => piece.trimEnd()).join(rule.syntax === 'kconfig' ? '\n\n' : '\n')}\n`;
  return rule.syntax === 'kconfig' ? `\n${joined}${rule.where === 'end' ? '' : '\n'}` : joined;
}

function squeezed(piece: string): string {
  return piece.trim().replace(/[ \t]+/g, ' ');
}

/** Whether it names a file of the tree as well. */
function mixes(piece: string, { concerns, syntax }: BuildFileRule, pristine: string): boolean {
  if (syntax === 'kconfig') return false;
  const names = piece.match(/[\w.-]+\.[cho]\b/g) ?? [];
  return names.some((name) => !concerns.test(name) && pristine.includes(name));
}

const KEYWORD =
  /^[ \t]*(config|menuconfig|source|rsource|menu|endmenu|if|endif|comment|choice|endchoice|mainmenu)\b/;

/** Each `config` with its attributes, which are indented. */
function stanzas(text: string): string[] {
  const found: string[][] = [];
  let open: string[] | undefined;
  for (const line of text.split('\n')) {
    if (/^[ \t]*(menu)?config[ \t]/.test(line)) {
      open = [line];
      found.push(open);
    } else if (KEYWORD.test(line) || /^\S/.test(line)) open = undefined;
    else open?.push(line);
  }
  return found.map((lines) => lines.join('\n').trimEnd());
}

/** Lines, joined while a bracket is open or a backslash ends the line; comments and blank lines are left out. */
function statements(text: string): string[] {
  const found: string[] = [];
  let open: string[] = [];
  let depth = 0;
  for (const line of text.split('\n')) {
    if (open.length === 0 && /^[ \t]*(#|$)/.test(line)) continue;
    open.push(line);
    const code = line.split('#', 1)[0] ?? '';
    depth += count(code, '([') - count(code, ')]');
    if (depth > 0 || line.endsWith('\\')) continue;
    found.push(open.join('\n'));
    [open, depth] = [[], 0];
  }
  return open.length === 0 ? found : [...found, open.join('\n')];
}

function count(text: string, chars: string): number {
  return [...text].filter((char) => chars.includes(char)).length;
}
