import type { KernelReport } from '../console/kernel-report.js';
import { decodePlaces, type SymbolFile } from '../sandbox/decode.js';
import type { Timeouts } from '../timeouts.js';
import type { CodeExcerpt, DecodedCrash } from './grade-report.js';

/** Text of the hand-in's files by path in the source tree. */
export type HandedInText = ReadonlyMap<string, string>;

const MOST_FRAMES = 12;
const AROUND = 3;

/** A kernel report with the places of its frames, and the lines of the hand-in that they lead to. */
export async function decodeCrash(
  report: KernelReport,
  on: string,
  files: readonly SymbolFile[],
  texts: HandedInText,
  options: { readonly timeouts: Timeouts; readonly signal: AbortSignal },
): Promise<DecodedCrash> {
  const places = [...(report.rip === undefined ? [] : [report.rip]), ...report.callTrace].slice(
    0,
    MOST_FRAMES,
  );
  // a caller is found by where it goes on, which may be the line after the call
  const called = places.map((place) =>
    place === report.rip ? place : { ...place, offset: place.offset - 1 },
  );
  const decoded = await Promise.all(files.map((file) => decodePlaces(file, called, options)));
  const frames = places.map(({ symbol, offset }, i) => {
    const found = decoded.map((answers) => answers[i]).find((place) => place !== undefined);
    const name = `${symbol}+0x${offset.toString(16)}`;
    if (found === undefined) return { symbol: name };
    const place = `${found.path}:${found.line}`;
    const code = excerptOf(texts, found.path, [found.line]);
    return { symbol: name, place, ...(code === undefined ? {} : { code }) };
  });
  return { on, kind: report.kind, title: report.title, lines: report.lines.slice(0, 80), frames };
}

/** The marked lines of a file of the hand-in with a few around them; the first of them decides which. */
export function excerptOf(
  texts: HandedInText,
  path: string,
  marked: readonly number[],
): CodeExcerpt | undefined {
  const lines = texts.get(path)?.split('\n');
  const [first] = marked;
  if (lines === undefined || first === undefined || first > lines.length) return undefined;
  const from = Math.max(1, first - AROUND);
  return { path, from, lines: lines.slice(from - 1, first + AROUND), marked };
}
