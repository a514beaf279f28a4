/** Text that comes from a submission or its guest may hold anything; these make it safe to look at. */

/** Colours and cursor movements: they carry no text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CURSOR = /\x1b\[[0-?]*[ -/]*[@-~]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f]/g;
/** Other control characters, and those that reorder or hide text: what is read would not be what is there. */
const INVISIBLE = /[\x80-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe\uffff]/g;

/**
 * Shows every character: terminal colours are dropped, other control characters become `^[` and the like, those that
 * reorder or hide text become `<U+202E>`. Tabs and newlines stay.
 */
export function visible(text: string): string {
  return text
    .toWellFormed()
    .replace(CURSOR, '')
    .replaceAll('\r\n', '\n')
    .replace(CONTROL, (character) => caret(character.charCodeAt(0)))
    .replace(INVISIBLE, (character) => codePoint(character.charCodeAt(0)));
}

function caret(code: number): string {
  return `^${String.fromCharCode(code ^ 0x40)}`;
}

function codePoint(code: number): string {
  return `<U+${code.toString(16).toUpperCase().padStart(4, '0')}>`;
}

/** The text as one line, with single blanks. */
export function oneLine(text: string): string {
  return visible(text).replace(/\s+/g, ' ').trim();
}

/** At most `most` characters; says how much is missing. */
export function shorten(text: string, most: number): string {
  const characters = text.length <= most ? [] : [...text];
  if (characters.length <= most) return text;
  return `${characters.slice(0, most).join('')}… (${characters.length - most} more characters)`;
}

/** All lines of some texts, visible: at most `lines` of them, each of at most `most` characters. */
export function visibleLines(texts: readonly string[], most: number, lines: number): string[] {
  const all = texts.flatMap((text) => visible(text).split('\n'));
  const kept = all.slice(0, lines).map((line) => shorten(line, most));
  return all.length <= lines ? kept : [...kept, `… (${all.length - lines} more lines)`];
}

/** Escapes markup of XML and HTML; what XML 1.0 cannot hold (control characters, lone surrogates) is replaced. */
export function xml(text: string): string {
  return (
    text
      .toWellFormed()
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
      .replaceAll('"', '&quot;')
      .replaceAll("'", '&#39;')
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, '\ufffd')
  );
}

/** Marks without needless digits: `2`, `2.5`, `13.33`. */
export function number(value: number): string {
  return String(Math.round(value * 100) / 100);
}

/** Milliseconds for people: `41 ms`, `12.1 s`, `3 min 20 s`. */
export function time(milliseconds: number): string {
  if (Math.abs(milliseconds) < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** `1 day`, `2 days`. */
export function count(amount: number, noun: string): string {
  return `${number(amount)} ${noun}${amount === 1 ? '' : 's'}`;
}
