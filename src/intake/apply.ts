import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run } from '../host/run.js';
import { type Hunk, type Section, writePatch } from './patch.js';
import { relocate } from './relocate.js';
import type { Fit, FitFile } from './submission.js';

export interface ApplyContext {
  /** Folder in which one file after the other is patched. */
  readonly dir: string;
  readonly signal: AbortSignal;
  /** Milliseconds for one run of patch. */
  readonly timeout: number;
  /** The patch was made for another release: lines that it adds are placed by one line of context as a last way. */
  readonly otherRelease: boolean;
}

/** How one section fits. */
export interface SectionFit {
  readonly path: string;
  readonly kind: Fit['kind'];
  /** The file afterwards, with the hunks that fit. */
  readonly file: FitFile;
  readonly hunks: number;
  /** Indices of hunks that do not fit. */
  readonly rejected: readonly number[];
  readonly details: readonly string[];
  readonly why?: Fit['why'];
}

interface Way {
  readonly options: readonly string[];
  readonly kind: Fit['kind'];
}

const WAYS: readonly Way[] = [
  { options: ['--fuzz=0'], kind: 'clean' },
  { options: ['--fuzz=0', '--ignore-whitespace'], kind: 'whitespace' },
  { options: ['--fuzz=2', '--ignore-whitespace'], kind: 'fuzz' },
];

/** Applies one section to one file, in the strictest way that takes all of its hunks. */
export async function applySection(
  section: Section,
  before: FitFile | undefined,
  context: ApplyContext,
): Promise<SectionFit> {
  const data = before?.data;
  const misplaced = misfit(section, data);
  if (misplaced !== undefined) return misplaced;
  let last: Attempt | undefined;
  for (const way of WAYS) {
    const attempt = await attemptWith(way, section, data, context);
    if (attempt.failed.length === 0 && !attempt.refused) return fitted(section, way, attempt);
    last = attempt;
    if (section.kind !== 'changed') break;
  }
  const failed = rejected(section, data, last as Attempt);
  return (context.otherRelease ? relocated(section, failed, (last as Attempt).said) : undefined) ?? failed;
}

/** What patch(1) would ask about: a new file that exists, a change of one that does not. */
function misfit(section: Section, data: Buffer | undefined): SectionFit | undefined {
  const { path, kind, hunks } = section;
  const all = hunks.map((_, i) => i);
  const common = { path, kind: 'rejected', hunks: hunks.length, rejected: all } as const;
  const file = { data, executable: false };
  if (kind === 'added' && data !== undefined) {
    const same = textOf(hunks) === data.toString('latin1');
    const details = [`${path}: the patch makes a new file, but the vanilla tree has one of this name`];
    return { ...common, file, details, ...(same ? { why: 'applied-already' as const } : {}) };
  }
  if (kind === 'added' || data !== undefined) return undefined;
  return {
    ...common,
    file,
    details: [`${path}: there is no such file in the vanilla tree`],
    why: 'other-version',
  };
}

function textOf(hunks: readonly Hunk[]): string {
  const lines = hunks.flatMap((hunk) => hunk.lines);
  const open = lines.at(-1)?.startsWith('\\') ?? false;
  const text = lines.filter((line) => line.startsWith('+')).map((line) => line.slice(1));
  return `${text.join('\n')}${open ? '' : '\n'}`;
}

interface Attempt {
  readonly said: readonly string[];
  /** Indices of hunks. */
  readonly failed: readonly number[];
  /** None of its hunks was tried. */
  readonly refused: boolean;
  readonly reversed: boolean;
  readonly data: Buffer | undefined;
}

/**
 * The name is given on the command line, so that nothing but this file can change, and the patch is text that we wrote:
 * neither ed scripts nor other formats reach the program.
 */
async function attemptWith(
  way: Way,
  section: Section,
  data: Buffer | undefined,
  context: ApplyContext,
): Promise<Attempt> {
  const file = join(context.dir, section.path);
  await mkdir(dirname(file), { recursive: true });
  if (data !== undefined) await writeFile(file, data);
  const args = ['--unified', '--batch', '--forward', '--no-backup-if-mismatch', '--reject-file=-', '--get=0'];
  const result = await run('patch', [...args, ...way.options, '--', section.path], {
    cwd: context.dir,
    env: {
      LC_ALL: 'C',
      POSIXLY_CORRECT: undefined,
      QUOTING_STYLE: 'literal',
      SIMPLE_BACKUP_SUFFIX: undefined,
    },
    input: Buffer.from(plainHeaders(section), 'latin1'),
    accept: [0, 1, 2],
    signal: context.signal,
    timeout: context.timeout,
  });
  const after = await readFile(file).catch(() => undefined);
  await rm(file, { force: true });
  const said = `${result.stdout}\n${result.stderr}`.split('\n').filter((line) => line !== '');
  const failed = said.flatMap((line) => {
    const number = /^Hunk #(\d+) FAILED/.exec(line)?.[1];
    return number === undefined ? [] : [Number(number) - 1];
  });
  const reversed = said.some((line) => /Reversed \(or previously applied\)/.test(line));
  const refused = result.exitCode !== 0 && failed.length === 0;
  return { said, failed, refused, reversed, data: after };
}

/** Without git's headers, which make patch(1) keep changes back until the end. */
function plainHeaders(section: Section): string {
  const text = writePatch([section]);
  return text.slice(text.indexOf('--- '));
}

function fitted(section: Section, way: Way, attempt: Attempt): SectionFit {
  const { path, hunks } = section;
  const moved = attempt.said.some((line) => /^Hunk #\d+ succeeded .*offset/.test(line));
  const fuzzy = attempt.said.some((line) => /with fuzz/.test(line));
  const kind =
    way.kind === 'clean' && moved ? 'offset' : way.kind === 'fuzz' && !fuzzy ? 'whitespace' : way.kind;
  const file = { data: attempt.data, executable: false };
  return { path, kind, file, hunks: hunks.length, rejected: [], details: told(path, kind, attempt.said) };
}

const WORDS: Readonly<Record<Fit['kind'], string>> = {
  clean: 'fits exactly',
  offset: 'fits at other line numbers',
  whitespace: 'fits when blanks are not compared',
  fuzz: 'fits with less context',
  rejected: 'does not fit',
};

function told(path: string, kind: Fit['kind'], said: readonly string[]): string[] {
  const evidence = said.filter((line) => !line.startsWith('patching file')).slice(0, 20);
  return [`${path}: ${WORDS[kind]}`, ...evidence.map((line) => `${path}: patch(1): ${line}`)];
}

function rejected(section: Section, before: Buffer | undefined, attempt: Attempt): SectionFit {
  const { path, hunks } = section;
  const failed = attempt.refused || attempt.failed.length === 0 ? hunks.map((_, i) => i) : attempt.failed;
  const why = attempt.reversed
    ? 'applied-already'
    : isForeign(
          failed.map((i) => hunks[i]),
          before,
        )
      ? 'other-version'
      : undefined;
  return {
    path,
    kind: 'rejected',
    file: { data: attempt.data ?? before, executable: false },
    hunks: hunks.length,
    rejected: failed,
    details: told(path, 'rejected', attempt.said),
    ...(why === undefined ? {} : { why }),
  };
}

/** Undefined when a hunk finds no place, or when most of its context is found nowhere. */
function relocated(section: Section, failed: SectionFit, said: readonly string[]): SectionFit | undefined {
  const { path, hunks } = section;
  if (section.kind !== 'changed' || failed.file.data === undefined || failed.why !== undefined)
    return undefined;
  let text: string | undefined = failed.file.data.toString('latin1');
  for (const index of failed.rejected) {
    const hunk = hunks[index];
    text = text === undefined || hunk === undefined ? undefined : relocate(text, hunk);
  }
  if (text === undefined) return undefined;
  const file = { data: Buffer.from(text, 'latin1'), executable: false };
  const note = `${path}: its context is that of another release; the added lines were placed by one line of it`;
  return {
    path,
    kind: 'fuzz',
    file,
    hunks: hunks.length,
    rejected: [],
    details: [note, ...told(path, 'fuzz', said)],
  };
}

/** Whether most of what the hunks expect stands nowhere in the file. */
function isForeign(hunks: readonly (Hunk | undefined)[], data: Buffer | undefined): boolean {
  const known = new Set((data?.toString('latin1') ?? '').split('\n').map((line) => line.trim()));
  const old = hunks.flatMap((hunk) => hunk?.lines.filter((line) => /^[ -].*\S/.test(line)) ?? []);
  return old.filter((line) => !known.has(line.slice(1).trim())).length > old.length / 2;
}
