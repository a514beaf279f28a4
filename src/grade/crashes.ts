import type { KernelReport } from '../console/kernel-report.js';
import { isAbort } from '../errors.js';
import { decodePlaces, type SymbolFile } from '../sandbox/decode.js';
import type { Timeouts } from '../timeouts.js';
import type { CodeExcerpt, DecodedCrash } from './grade-report.js';
import type { JudgedLine } from './grading.js';

/** Text of the hand-in's files by path in the source tree. */
export type HandedInText = ReadonlyMap<string, string>;

const MOST_FRAMES = 12;
const AROUND = 3;

interface Reported {
  /** What it ran on. */
  readonly on: string;
  readonly reports: readonly KernelReport[];
}

/** Different ones; the same trouble often shows on every machine. */
const MOST_CRASHES = 5;

/** What kernels reported, with the places of the frames, and the lines of the hand-in that they lead to. */
export async function decodeCrashes(
  lanes: readonly Reported[],
  files: readonly SymbolFile[],
  texts: HandedInText,
  options: { readonly timeouts: Timeouts; readonly signal: AbortSignal },
): Promise<DecodedCrash[]> {
  const crashes: DecodedCrash[] = [];
  const seen = new Set<string>();
  for (const { on, reports } of lanes) {
    for (const report of reports) {
      if (seen.has(report.fingerprint) || seen.size >= MOST_CRASHES) continue;
      seen.add(report.fingerprint);
      const crash = decodeCrash(report, on, files, texts, options);
      crashes.push(await crash.catch((error) => undecoded(error, report, on)));
    }
  }
  return crashes;
}

/** Line numbers are a help; without them the report still tells. */
function undecoded(error: unknown, report: KernelReport, on: string): DecodedCrash {
  if (isAbort(error)) throw error;
  return { on, kind: report.kind, title: report.title, lines: report.lines, frames: [] };
}

async function decodeCrash(
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

const MOST_EXCERPTS = 4;

/** The lines of the hand-in that a line which did not pass is about: from a crash, or from the compiler. */
export function codeOf(
  { checks }: Pick<JudgedLine, 'checks'>,
  texts: HandedInText,
  crashes: readonly DecodedCrash[],
): CodeExcerpt[] {
  const bad = checks.filter(({ outcome }) => outcome !== 'passed' && outcome !== 'skipped');
  if (bad.length === 0) return [];
  const crashed = bad.some(({ outcome }) => outcome === 'crashed' || outcome === 'failed');
  const fromCrash = crashed
    ? crashes.filter(({ on }) => bad.some((check) => check.on === on)).flatMap(({ frames }) => frames)
    : [];
  const fromCompiler = bad.flatMap(({ evidence }) => evidence.flatMap((line) => placeIn(line, texts)));
  const found = [...fromCrash.flatMap(({ code }) => (code === undefined ? [] : [code])), ...fromCompiler];
  const unique = new Map(found.map((code) => [`${code.path}:${code.marked.join()}`, code]));
  return [...unique.values()].slice(0, MOST_EXCERPTS);
}

/** `path:line` at the beginning of a compiler's line. */
function placeIn(line: string, texts: HandedInText): CodeExcerpt[] {
  const [, path, number] = /^([\w./+-]+\.[ch]):(\d+)/.exec(line) ?? [];
  const code = path === undefined ? undefined : excerptOf(texts, path, [Number(number)]);
  return code === undefined ? [] : [code];
}
