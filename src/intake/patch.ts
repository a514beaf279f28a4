import type { PartFile } from './submission.js';

/** A part of a patch that changes one place of a file. */
export interface Hunk {
  readonly oldStart: number;
  readonly oldCount: number;
  readonly newStart: number;
  readonly newCount: number;
  /** What follows the second `@@`. */
  readonly section: string;
  /** Each with its first character: blank, `+`, `-`, or `\`. */
  readonly lines: readonly string[];
  /** 1-based line of its header in the text it was read from. */
  readonly line: number;
}

/** What a patch says about one file. */
export interface FileDiff {
  /** As written; undefined for a file that does not exist on that side. */
  readonly oldName: string | undefined;
  readonly newName: string | undefined;
  readonly hunks: readonly Hunk[];
  /** 1-based line of its first header. */
  readonly line: number;
  /** What it asks for that a plain patch cannot. */
  readonly special?: Special;
  /** Whether it changes the mode of a file as well. */
  readonly mode: boolean;
}

export type Special = 'rename' | 'link' | 'submodule' | 'binary' | 'mode';

/** A file of a source tree, as a patch changes it. */
export interface Section {
  readonly path: string;
  readonly kind: PartFile['kind'];
  readonly hunks: readonly Hunk[];
  /** Name of the file that was handed in with it. */
  readonly origin?: string;
}

/** The sections as one patch of git's kind with one leading component; lines are latin1. */
export function writePatch(sections: readonly Section[]): string {
  return sections.map(writeSection).join('');
}

function writeSection({ path, kind, hunks }: Section): string {
  const head = [`diff --git a/${path} b/${path}`];
  if (kind === 'added') head.push('new file mode 100644');
  if (kind === 'deleted') head.push('deleted file mode 100644');
  head.push(kind === 'added' ? '--- /dev/null' : `--- a/${path}`);
  head.push(kind === 'deleted' ? '+++ /dev/null' : `+++ b/${path}`);
  return `${[...head, ...hunks.map(writeHunk)].join('\n')}\n`;
}

/** A hunk with its header, without a last newline. */
export function writeHunk(hunk: Hunk): string {
  const old = `${hunk.oldStart},${hunk.oldCount}`;
  const fresh = `${hunk.newStart},${hunk.newCount}`;
  return [`@@ -${old} +${fresh} @@${hunk.section}`, ...hunk.lines].join('\n');
}

/** What a patch makes of each file, once per path. */
export function filesOf(sections: readonly Section[]): PartFile[] {
  const files = new Map<string, PartFile>();
  for (const { path, kind, hunks } of sections) {
    const lines = hunks.flatMap((hunk) => hunk.lines);
    const before = files.get(path);
    files.set(path, {
      path,
      kind: before?.kind === 'added' && kind !== 'deleted' ? 'added' : kind,
      added: (before?.added ?? 0) + lines.filter((line) => line.startsWith('+')).length,
      removed: (before?.removed ?? 0) + lines.filter((line) => line.startsWith('-')).length,
    });
  }
  return [...files.values()];
}
