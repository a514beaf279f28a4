import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../host/run.js';
import type { Section } from './patch.js';
import { parsePatch } from './patch-parse.js';

export interface DiffContext {
  /** Folder for files that live for a moment. */
  readonly scratch: string;
  readonly signal: AbortSignal;
  /** Milliseconds for one run of diff. */
  readonly timeout: number;
}

/** A new file of a tree. */
export function addedSection(path: string, text: string): Section {
  const ended = text.endsWith('\n');
  const lines = (ended ? text.slice(0, -1) : text).split('\n').map((line) => `+${line}`);
  const all = ended ? lines : [...lines, '\\ No newline at end of file'];
  const hunk = {
    oldStart: 0,
    oldCount: 0,
    newStart: 1,
    newCount: lines.length,
    section: '',
    lines: all,
    line: 1,
  };
  return { path, kind: 'added', hunks: [hunk] };
}

/** The difference between two texts of latin1; undefined when there is none. */
export async function changedSection(
  path: string,
  before: string,
  after: string,
  context: DiffContext,
): Promise<Section | undefined> {
  const text = await diffText(before, after, ['-u'], context);
  const hunks = parsePatch(text).files[0]?.hunks ?? [];
  return hunks.length === 0 ? undefined : { path, kind: 'changed', hunks };
}

/** A block of lines that one text has and another has not. */
export interface AddedBlock {
  /** Number of lines of the older text before it. */
  readonly after: number;
  readonly lines: readonly string[];
  /** Lines of the older text that it stands for. */
  readonly removed: number;
}

/** The differences without context. */
export async function addedBlocks(
  before: string,
  after: string,
  context: DiffContext,
): Promise<AddedBlock[]> {
  const text = await diffText(before, after, ['-U0'], context);
  const hunks = parsePatch(text).files[0]?.hunks ?? [];
  return hunks.map(({ oldStart, oldCount, lines }) => ({
    after: oldCount === 0 ? oldStart : oldStart - 1,
    lines: lines.filter((line) => line.startsWith('+')).map((line) => line.slice(1)),
    removed: oldCount,
  }));
}

async function diffText(
  before: string,
  after: string,
  options: readonly string[],
  { scratch, signal, timeout }: DiffContext,
): Promise<string> {
  const dir = await mkdtemp(join(scratch, 'diff-'));
  try {
    // bytes are carried as UTF-8 so that the output, which is decoded as such, comes back unharmed
    await writeFile(join(dir, 'a'), before, 'utf8');
    await writeFile(join(dir, 'b'), after, 'utf8');
    const args = ['--text', ...options, '--label', 'a/x', '--label', 'b/x', 'a', 'b'];
    const result = await run('diff', args, {
      cwd: dir,
      signal,
      timeout,
      accept: [0, 1],
      env: { LC_ALL: 'C' },
    });
    return result.stdout;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
