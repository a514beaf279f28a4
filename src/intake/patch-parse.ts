import type { FileDiff, Hunk, Special } from './patch.js';
import { parseHunk } from './patch-hunk.js';

export interface ParsedPatch {
  readonly files: readonly FileDiff[];
  /** Names in `Binary files … differ` and `Only in …` lines. */
  readonly binaries: readonly string[];
  /** `[PATCH 2/3]` in the subject of each mail, in order. */
  readonly mails: readonly {
    readonly number: number;
    readonly of: number;
    readonly files: readonly FileDiff[];
  }[];
  /** What had to be repaired so that the patch can be read at all, and that no tool forgives. */
  readonly faults: readonly string[];
  /** What was repaired without doubt. */
  readonly repairs: readonly string[];
}

/** Whether a text holds a unified diff. */
export function looksLikePatch(text: string): boolean {
  return /^--- .*\n\+\+\+ .*\n@@ -\d/m.test(text) || /^diff --git /m.test(text);
}

/**
 * Reads unified diffs out of a text: of git, of diff(1), from mails, with anything before, between and after them.
 * Never throws; lines that are not understood are passed over.
 *
 * @param text LF only.
 */
export function parsePatch(text: string): ParsedPatch {
  const parser = new Parser(text.split('\n'));
  parser.run();
  return parser;
}

interface GitHeader {
  readonly line: number;
  readonly names: readonly [string, string] | undefined;
  special?: Special;
  mode: boolean;
  added: boolean;
  deleted: boolean;
  from?: string;
  to?: string;
  used: boolean;
}

class Parser implements ParsedPatch {
  readonly files: FileDiff[] = [];
  readonly binaries: string[] = [];
  readonly mails: { number: number; of: number; files: FileDiff[] }[] = [];
  readonly faults: string[] = [];
  readonly repairs: string[] = [];
  readonly #lines: readonly string[];
  #at = 0;
  #git: GitHeader | undefined;

  constructor(lines: readonly string[]) {
    this.#lines = lines;
  }

  run(): void {
    while (this.#at < this.#lines.length) {
      const line = this.#lines[this.#at] ?? '';
      if (line.startsWith('diff ')) this.#startDiff(line);
      else if (startsFile(this.#lines, this.#at)) this.#takeFile();
      else if (/^From [0-9a-f]{7,64} /.test(line)) this.#startMail();
      else this.#takeOther(line);
    }
    this.#endGit();
  }

  #startDiff(line: string): void {
    this.#endGit();
    const names = line.startsWith('diff --git ') ? gitNames(line.slice(11)) : undefined;
    if (line.startsWith('diff --git '))
      this.#git = { line: this.#at + 1, names, mode: false, added: false, deleted: false, used: false };
    this.#at += 1;
  }

  /** A file of which git's header says all there is: renamed, another mode, binary. */
  #endGit(): void {
    const git = this.#git;
    this.#git = undefined;
    if (git === undefined || git.used) return;
    const special = git.special ?? (git.mode ? 'mode' : undefined);
    if (special === undefined) return;
    const [oldName, newName] = git.names ?? [git.from, git.to];
    this.#add({ oldName, newName, hunks: [], line: git.line, special, mode: git.mode });
  }

  #takeFile(): void {
    const git = this.#git;
    const start = this.#at;
    const [before, after] = [0, 1].map((i) => sideOf((this.#lines[start + i] ?? '').slice(4)));
    this.#at += 2;
    const hunks: Hunk[] = [];
    while (/^@@ -\d/.test(this.#lines[this.#at] ?? '')) {
      const taken = parseHunk(this.#lines, this.#at);
      if (taken === undefined) break;
      this.#at = taken.next;
      this.repairs.push(...taken.repairs);
      this.faults.push(...taken.faults);
      if (taken.hunk.lines.some((line) => /^[+-]/.test(line))) hunks.push(taken.hunk);
    }
    const first = hunks[0];
    const alone = hunks.length === 1 && first !== undefined;
    const absentBefore = before?.absent || git?.added || (before?.epoch && alone && first.oldCount === 0);
    const absentAfter = after?.absent || git?.deleted || (after?.epoch && alone && first.newCount === 0);
    if (git !== undefined) git.used = true;
    this.#add({
      oldName: absentBefore ? undefined : (before?.name ?? after?.name),
      newName: absentAfter ? undefined : (after?.name ?? before?.name),
      hunks,
      line: (git?.line ?? start + 1) as number,
      mode: git?.mode ?? false,
      ...(git?.special === undefined ? {} : { special: git.special }),
    });
    this.#git = undefined;
  }

  #startMail(): void {
    this.#endGit();
    const head = this.#lines.slice(this.#at, this.#at + 40).join('\n');
    const [, number = '1', of = '1'] = /^Subject:.*\[[^\]]*?(\d+)\/(\d+)\]/m.exec(head) ?? [];
    this.mails.push({ number: Number(number), of: Number(of), files: [] });
    this.#at += 1;
  }

  #takeOther(line: string): void {
    this.#at += 1;
    const binary = /^(?:Binary files|Files) (.*) and (.*) differ$/.exec(line);
    if (binary !== null) {
      this.binaries.push(binary[2] ?? '');
      if (this.#git !== undefined) this.#git.used = true;
    }
    const only = /^Only in (.*): (.*)$/.exec(line);
    if (only !== null) this.binaries.push(`${only[1]}/${only[2]}`);
    if (this.#git !== undefined) extendedHeader(this.#git, line);
  }

  #add(file: FileDiff): void {
    this.files.push(file);
    this.mails.at(-1)?.files.push(file);
  }
}

/** Where the names of a file stand, followed by its first hunk. */
export function startsFile(lines: readonly string[], at: number): boolean {
  return (
    (lines[at] ?? '').startsWith('--- ') &&
    (lines[at + 1] ?? '').startsWith('+++ ') &&
    /^@@ -\d/.test(lines[at + 2] ?? '')
  );
}

function extendedHeader(git: GitHeader, line: string): void {
  const [, word = '', rest = ''] =
    /^(old mode|new mode|new file mode|deleted file mode) (\d+)/.exec(line) ?? [];
  if (word === 'new file mode') git.added = true;
  if (word === 'deleted file mode') git.deleted = true;
  if (word === 'old mode') git.mode = true;
  if (rest.startsWith('12')) git.special = 'link';
  if (rest.startsWith('16')) git.special = 'submodule';
  const moved = /^(?:rename|copy) (from|to) (.+)$/.exec(line);
  if (moved !== null) {
    git.special ??= 'rename';
    git[moved[1] === 'from' ? 'from' : 'to'] = moved[2] ?? '';
  }
  if (line === 'GIT binary patch') git.special ??= 'binary';
}

/** Both names of a `diff --git` line; with blanks in them they are told apart by being the same. */
function gitNames(rest: string): readonly [string, string] | undefined {
  const quoted = /^("(?:[^"\\]|\\.)*"|\S+) ("(?:[^"\\]|\\.)*"|\S+)$/.exec(rest);
  if (quoted !== null) return [unquote(quoted[1] ?? ''), unquote(quoted[2] ?? '')];
  const half = (rest.length - 1) / 2;
  return rest[half] === ' ' ? [rest.slice(0, half), rest.slice(half + 1)] : undefined;
}

interface Side {
  readonly name: string;
  readonly absent: boolean;
  /** Dated 1970: how diff(1) says that a file is not there. */
  readonly epoch: boolean;
}

function sideOf(rest: string): Side {
  const quoted = /^"(?:[^"\\]|\\.)*"/.exec(rest)?.[0];
  const [head = '', ...tail] = rest.split('\t');
  const date = head.search(/\s(?=\d{4}-\d\d-\d\d[ T]\d\d:|\w{3} \w{3} [ \d]\d \d\d:)/);
  const end = date === -1 ? head.length : date;
  const name = quoted === undefined ? head.slice(0, end).trimEnd() : unquote(quoted);
  const when = quoted === undefined ? `${head.slice(end)}\t${tail.join('\t')}` : rest.slice(quoted.length);
  const absent = /^(\.?\/|[ab]\/+)?(dev\/null|nul)$/i.test(name.replaceAll('\\', '/'));
  return { name, absent, epoch: isEpoch(when.slice(0, 100)) };
}

function isEpoch(when: string): boolean {
  return /(^|\s)(1970-01-01|1969-12-31)/.test(when) || /Jan\s+1 .* 1970|Dec 31 .* 1969/.test(when);
}

/** C-style quotes, as git and diff(1) put around unusual names; octal escapes are bytes. */
function unquote(text: string): string {
  if (!text.startsWith('"')) return text;
  const named: Readonly<Record<string, string>> = {
    n: '\n',
    t: '\t',
    r: '\r',
    a: '\x07',
    b: '\b',
    f: '\f',
    v: '\v',
  };
  return text.slice(1, -1).replace(/\\([0-7]{1,3}|.)/g, (_, code: string) => {
    if (/^[0-7]/.test(code)) return String.fromCharCode(Number.parseInt(code, 8) & 0xff);
    return named[code] ?? code;
  });
}
