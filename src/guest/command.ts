import { LabError } from '../errors.js';

/** A command line for the guest's shell, or an argument list that is quoted for it. */
export type Command = string | readonly string[];

/**
 * The text to hand to a POSIX shell so that it runs exactly these words; a string passes unchanged.
 *
 * @throws LabError `guest/argument` for an empty list or a NUL, which no program can receive.
 */
export function shellText(command: Command): string {
  if (typeof command !== 'string' && command.length === 0)
    throw badArgument('an empty argument list', command);
  const text = typeof command === 'string' ? command : command.map(quoteWord).join(' ');
  if (text.includes('\0')) throw badArgument('an argument with a NUL in it', command);
  return text;
}

/** The first word is quoted always: `if`, `a=b` and aliases have a meaning there. */
function quoteWord(word: string, index: number): string {
  return index > 0 && /^[\w@%+:,./=-]+$/.test(word) ? word : quoteForShell(word);
}

/** One word, whatever is in it, for a POSIX shell. */
export function quoteForShell(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** For messages: one line of at most 200 characters. */
export function describeCommand(command: Command): string {
  const line = (typeof command === 'string' ? command : command.join(' ')).replace(/\s+/g, ' ').trim();
  return line.length <= 200 ? line : `${line.slice(0, 197)}...`;
}

function badArgument(what: string, command: Command): LabError {
  return new LabError({
    code: 'guest/argument',
    blame: 'user',
    fact: `${what} cannot be run in the guest`,
    evidence: [JSON.stringify(command).slice(0, 200)],
    next: 'correct the command',
  });
}
