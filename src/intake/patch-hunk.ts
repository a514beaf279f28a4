import type { Hunk } from './patch.js';

export interface TakenHunk {
  readonly hunk: Hunk;
  /** Index of the first line after it. */
  readonly next: number;
  readonly repairs: readonly string[];
  readonly faults: readonly string[];
}

interface Counts {
  readonly old: number;
  readonly new: number;
}

/** Blank lines at the end of a hunk that an editor may have taken away. */
const MOST_TRIMMED = 3;

/**
 * Reads the hunk whose header stands at `at`, by the numbers in the header. Where these do not fit, what is missing is
 * supplied when it can only have been blank lines; otherwise the lines count and not the header.
 */
export function parseHunk(lines: readonly string[], at: number): TakenHunk | undefined {
  const header = /^@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@(.*)$/.exec(lines[at] ?? '');
  if (header === null) return undefined;
  const [, oldStart = '', oldCount = '1', newStart = '', newCount = '1', section = ''] = header;
  const wanted = { old: Number(oldCount), new: Number(newCount) };
  const body = takeBody(lines, at + 1, wanted);
  const more: { repairs: string[]; faults: string[] } = { repairs: [], faults: [] };
  const where = `the hunk in line ${at + 1}`;
  let { taken, next } = body;
  const short = { old: wanted.old - body.counts.old, new: wanted.new - body.counts.new };
  if (isTrimmed(lines, body, short)) {
    taken = [...taken, ...Array<string>(short.old).fill(' ')];
    more.repairs.push(`${where} had lost ${short.old} blank line(s) at its end; they were put back`);
  } else if (short.old !== 0 || short.new !== 0) {
    ({ taken, next } = takeAll(lines, at + 1));
    const is = countsOf(taken);
    more.faults.push(
      `${where} says ${wanted.old} lines before and ${wanted.new} after, but holds ${is.old} and ${is.new}`,
    );
  } else if (/^[+-](?!-- |\+\+ )./.test(lines[next] ?? '') && !isSignature(lines, next)) {
    more.repairs.push(
      `line ${next + 1} and what follows it is not counted by the hunk before it and was ignored`,
    );
  }
  const counts = countsOf(taken);
  const hunk = {
    oldStart: Number(oldStart),
    oldCount: counts.old,
    newStart: Number(newStart),
    newCount: counts.new,
    section,
    lines: taken,
    line: at + 1,
  };
  return { hunk, next, ...more };
}

interface Body {
  readonly taken: string[];
  readonly counts: Counts;
  readonly next: number;
}

/** As many lines as the header counts, or fewer when something else begins. */
function takeBody(lines: readonly string[], from: number, wanted: Counts): Body {
  const taken: string[] = [];
  let [old, fresh, at] = [0, 0, from];
  while (old < wanted.old || fresh < wanted.new) {
    const line = bodyLine(lines, at);
    if (line === undefined) break;
    const [before, after] = [takesOld(line), takesNew(line)];
    if ((before && old === wanted.old) || (after && fresh === wanted.new)) {
      return { taken, counts: { old: -1, new: -1 }, next: at };
    }
    old += before ? 1 : 0;
    fresh += after ? 1 : 0;
    taken.push(line);
    at += 1;
  }
  if (taken.length > 0 && (lines[at] ?? '').startsWith('\\')) {
    taken.push(lines[at] ?? '');
    at += 1;
  }
  return { taken, counts: { old, new: fresh }, next: at };
}

/** The line at `at` with its first character, a context line that lost its only blank included. */
function bodyLine(lines: readonly string[], at: number): string | undefined {
  const line = lines[at];
  if (line === undefined || startsOther(lines, at) || isSignature(lines, at)) return undefined;
  if (line === '') return endsAfterBlanks(lines, at) ? undefined : ' ';
  return /^[ +\-\\]/.test(line) ? line : undefined;
}

/** Empty lines looked ahead over. */
const MOST_BLANKS = 50;

/** Only empty lines up to what is no longer part of a hunk: these are not taken for context. */
function endsAfterBlanks(lines: readonly string[], at: number): boolean {
  let next = at;
  while (lines[next] === '' && next - at < MOST_BLANKS) next += 1;
  return next >= lines.length || lines[next] === '' || startsOther(lines, next) || isSignature(lines, next);
}

function startsOther(lines: readonly string[], at: number): boolean {
  const line = lines[at] ?? '';
  if (/^(diff |@@ -\d|Index: |Only in |Binary files |Files |From [0-9a-f]{7,64} )/.test(line)) return true;
  const names = line.startsWith('--- ') && (lines[at + 1] ?? '').startsWith('+++ ');
  return names && /^@@ -\d/.test(lines[at + 2] ?? '');
}

/** How git ends a mail: two dashes, then its own version. */
function isSignature(lines: readonly string[], at: number): boolean {
  return /^-- ?$/.test(lines[at] ?? '') && /^\d+\.\d+/.test(lines[at + 1] ?? '');
}

/** Whether nothing but blank context lines can be missing: the numbers lack the same on both sides. */
function isTrimmed(lines: readonly string[], { next, taken }: Body, short: Counts): boolean {
  if (short.old !== short.new || short.old < 1 || short.old > MOST_TRIMMED || taken.length === 0)
    return false;
  let at = next;
  while (lines[at] === '') at += 1;
  return at >= lines.length || startsOther(lines, at) || isSignature(lines, at);
}

/** All lines up to the next header, whatever the numbers say. */
function takeAll(lines: readonly string[], from: number): { taken: string[]; next: number } {
  const taken: string[] = [];
  let at = from;
  for (let line = bodyLine(lines, at); line !== undefined; line = bodyLine(lines, at)) {
    taken.push(line);
    at += 1;
  }
  return { taken, next: at };
}

function countsOf(lines: readonly string[]): Counts {
  return { old: lines.filter(takesOld).length, new: lines.filter(takesNew).length };
}

function takesOld(line: string): boolean {
  return line.startsWith(' ') || line.startsWith('-');
}

function takesNew(line: string): boolean {
  return line.startsWith(' ') || line.startsWith('+');
}
