import { realpath } from 'node:fs/promises';
import { posix } from 'node:path';
import { LabError } from '../errors.js';
import { entriesOf, type TarEntry } from '../host/tar-stream.js';
import { quoteForShell as q } from './command.js';

export type PutItem = {
  /** Absolute path of the file or folder itself in the guest; folders above it are made. */
  readonly to: string;
  /** Of a file; default that of `from`, or 0644. What is in a folder keeps its own. */
  readonly mode?: number | undefined;
  /** Default that of `from`, or now. */
  readonly mtime?: Date | undefined;
  /** Lets a folder take the place of one that exists; a file always does that of a file. */
  readonly replace?: boolean | undefined;
} & (
  | {
      /** A file or a folder here; in a folder, symbolic links stay links. */
      readonly from: string;
    }
  | { readonly data: string | Uint8Array }
);

/** One item on its way: it arrives at `aside`, in the folder of its target. */
export interface Outgoing {
  readonly item: PutItem;
  readonly aside: string;
  readonly folder: boolean;
  /** Sum of the files' sizes. */
  readonly size: number;
  readonly entries: readonly TarEntry[];
}

/** @throws LabError `guest/path`, `tar/kind`; ENOENT and the like of this host. */
export async function prepare(item: PutItem, name: string): Promise<Outgoing> {
  const to = posix.normalize(item.to);
  if (!to.startsWith('/') || to.endsWith('/') || to.includes('\0')) throw badPath(item.to);
  const aside = posix.join(posix.dirname(to), name);
  const as = aside.slice(1);
  const entries: TarEntry[] = [];
  if ('data' in item) {
    const data = Buffer.from(item.data as string);
    entries.push({ path: as, mode: 0o644, mtime: new Date(), content: { kind: 'data', data } });
  } else {
    for await (const entry of entriesOf(await realpath(item.from), as)) entries.push(entry);
  }
  const folder = entries[0]?.content.kind === 'folder';
  const { mode = entries[0]?.mode, mtime = entries[0]?.mtime } = item;
  if (!folder) Object.assign(entries[0] ?? {}, { mode, mtime });
  const size = entries.reduce((sum, { content }) => sum + sizeOf(content), 0);
  return { item: { ...item, to }, aside, folder, size, entries };
}

function sizeOf(content: TarEntry['content']): number {
  return content.kind === 'data' ? content.data.length : content.kind === 'file' ? content.size : 0;
}

/** The script that finishes the work travels first, so that it is there however the rest ends. */
export function* membersOf(outgoing: readonly Outgoing[], script: string): Generator<TarEntry> {
  const data = Buffer.from(finish(outgoing, script));
  yield { path: script.slice(1), mode: 0o600, mtime: new Date(), content: { kind: 'data', data } };
  for (const { entries } of outgoing) yield* entries;
}

/** Compares sizes, renames, and removes whatever is left. `$1` is the exit code of tar. */
function finish(outgoing: readonly Outgoing[], script: string): string {
  const files = outgoing.filter(({ folder }) => !folder);
  const sizes = files.map(({ size }) => size).join('\n');
  const steps = ['[ "$1" = 0 ] || return 1'];
  const complain = (text: string) => `{ echo ${q(text)} >&2; return 1; }`;
  if (files.length > 0) {
    const list = files.map(({ aside }) => q(aside)).join(' ');
    steps.push(
      `[ "$(stat -c %s ${list})" = ${q(sizes)} ] || ${complain('the sizes differ from those sent')}`,
    );
  }
  for (const { item, aside, folder, size } of outgoing) {
    const [from, to, old] = [q(aside), q(item.to), q(`${aside}-old`)];
    if (!folder) {
      steps.push(
        `[ ! -d ${to} ] || ${complain(`${item.to} is a folder`)}`,
        `mv -f ${from} ${to} || return 1`,
      );
      continue;
    }
    const total = `"$(find ${from} -type f -exec cat {} + | wc -c)"`;
    steps.push(
      `[ ${total} -eq ${size} ] || ${complain(`the files of ${item.to} differ in size from those sent`)}`,
    );
    if (item.replace) steps.push(`[ ! -d ${to} ] || mv ${to} ${old} || return 1`);
    steps.push(`[ ! -e ${to} ] || ${complain(`${item.to} exists`)}`, `mv ${from} ${to} || return 1`);
  }
  const leftovers = outgoing.flatMap(({ aside }) => [q(aside), q(`${aside}-old`)]).join(' ');
  return `all() {\n${steps.join('\n')}\n}\nall "$1"\ns=$?\nrm -rf ${leftovers} ${script}\nexit $s\n`;
}

/** The error of a path that cannot be meant. */
export function badPath(path: string): LabError {
  return new LabError({
    code: 'guest/path',
    blame: 'user',
    fact: `${JSON.stringify(path)} does not name a file or folder in the guest`,
    next: 'give an absolute path that ends in the name of the file or folder itself',
  });
}
