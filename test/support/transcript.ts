/** A command of a guide, and what it prints. */
export interface Shown {
  readonly command: string;
  readonly output: readonly string[];
  /** 1-based line of the command in the guide. */
  readonly line: number;
}

/** The commands in the fenced blocks of the language `console`, in order: lines that begin with `$ `. */
export function commandsIn(markdown: string): Shown[] {
  const shown: { command: string; output: string[]; line: number }[] = [];
  let inside = false;
  for (const [i, line] of markdown.split('\n').entries()) {
    if (line.startsWith('```')) inside = line === '```console';
    else if (inside && line.startsWith('$ ')) shown.push({ command: line.slice(2), output: [], line: i + 1 });
    else if (inside) shown.at(-1)?.output.push(line);
  }
  return shown;
}

/**
 * Whether a command printed what is shown. `…` in a line stands for anything in it, `…` alone for any number of lines.
 * How many blanks there are between words does not count: tools differ there between distributions.
 */
export function isAsShown(shown: readonly string[], printed: string): boolean {
  const pattern = shown.map((line) => (line === '…' ? '(?:[^\\n]*\\n)*?' : `${inLine(line)}\\n`)).join('');
  const lines = printed.trimEnd() === '' ? '' : `${printed.trimEnd().split('\n').map(plain).join('\n')}\n`;
  return new RegExp(`^${pattern}$`).test(lines);
}

function inLine(line: string): string {
  const parts = plain(line).split('…');
  return parts.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[^\\n]*');
}

function plain(line: string): string {
  return line.replace(/\s+/g, ' ').trim();
}
