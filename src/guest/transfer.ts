import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, posix } from 'node:path';
import { LabError } from '../errors.js';
import { entriesOf, packTar, readTar, type TarEntry, type TarMember } from '../host/tar-stream.js';
import type { Timeouts } from '../timeouts.js';
import { quoteForShell as q } from './command.js';
import type { Guest } from './guest.js';
import { drain, LastLines, Tail } from './output.js';
import type { Session } from './session.js';
import { Stop } from './stop.js';
import { record } from './transcript.js';

export interface TransferOptions {
  /** Default the guest's; `guestTransfer` is the longest time without progress. */
  readonly timeouts?: Timeouts | undefined;
  readonly signal?: AbortSignal | undefined;
}

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

export interface GetOptions extends TransferOptions {
  /** Default 1 GiB, names and padding included. */
  readonly maxBytes?: number;
}

export interface Got {
  /** Where it is now. */
  readonly path: string;
  /** Sum of the files' sizes. */
  readonly bytes: number;
  /** Names, relative to the folder, of what is neither file nor folder and was left out. */
  readonly skipped: readonly string[];
}

/**
 * Copies files and folders into the guest, as one stream into the guest's `tar` (GNU or busybox).
 *
 * Each arrives beside its target, has its size compared, and is renamed into place when all have arrived; when
 * anything fails the guest removes what arrived.
 *
 * @returns the sum of the files' sizes.
 * @throws LabError `guest/transfer` (evidence: what the guest's programs said), `guest/path`, `guest/timeout`,
 *   `guest/lost`, `tar/…` for what cannot be read here, `interrupted`.
 */
export async function put(
  guest: Guest,
  items: readonly PutItem[],
  options: TransferOptions = {},
): Promise<number> {
  if (items.length === 0) return 0;
  const started = performance.now();
  const mark = `.lab-${randomBytes(6).toString('hex')}`;
  const incoming = await Promise.all(items.map((item, i) => prepare(item, `${mark}-${i}`)));
  const script = `/tmp/${mark}.sh`;
  const what = `copying ${items.map(({ to }) => to).join(', ')} to the guest`;
  using stop = stopOf(guest, what, options);
  const command = `umask 022; tar -x -o -p -f - -C /; sh ${script} $?`;
  const session = await guest.session(command, options);
  const said = listen(session);
  await send(session, stop, packTar(membersOf(incoming, script)));
  const { exitCode } = await stop.race(session.ended);
  if (exitCode !== 0) throw failed(what, exitCode, said.lines);
  const bytes = incoming.reduce((sum, { size }) => sum + size, 0);
  const duration = Math.round(performance.now() - started);
  record(guest.transcript, { type: 'put', to: items.map(({ to }) => to), bytes, duration });
  return bytes;
}

/**
 * Copies one file or folder out of the guest. Symbolic links at the end of `remote` are followed there; links,
 * devices and the like inside a folder are left out. The guest is not trusted: what it sends is created under the
 * requested name alone, bounded in size, and appears whole or not at all.
 *
 * @param local the new file or folder itself, or an existing folder to put it in under its own name. A file is
 *   replaced, a folder is not.
 * @throws LabError `guest/no-file`, `guest/path`, `guest/transfer`, `guest/archive` (what came is not what was asked
 *   for), `guest/timeout`, `guest/lost`, `interrupted`.
 */
export async function get(
  guest: Guest,
  remote: string,
  local: string,
  options: GetOptions = {},
): Promise<Got> {
  const started = performance.now();
  const what = `copying ${remote} from the guest`;
  const path = (await isFolder(local)) ? join(local, checked(posix.basename(remote), remote)) : local;
  const aside = join(dirname(path), `.${basename(path)}.${randomBytes(4).toString('hex')}.part`);
  using stop = stopOf(guest, what, options);
  const session = await guest.session(['sh', '-c', SEND, 'sh', remote], options);
  const said = listen(session, false);
  session.stdin.end();
  try {
    const got = await receive(session, stop, aside, options.maxBytes ?? 2 ** 30).catch(async (error) => {
      if (!(error instanceof LabError) || error.code !== 'tar/damaged') throw error;
      const { exitCode } = await stop.race(session.ended); // its own reason is the better one
      throw exitCode === 0 ? notAsAsked(what, error.message) : failed(what, exitCode, said.lines);
    });
    const { exitCode } = await stop.race(session.ended);
    if (exitCode !== 0) throw failed(what, exitCode, said.lines);
    await rename(aside, path).catch((cause) => {
      throw inTheWay(path, cause);
    });
    const duration = Math.round(performance.now() - started);
    record(guest.transcript, { type: 'get', to: [path], bytes: got.bytes, duration });
    return { path, ...got };
  } catch (error) {
    session.abandon();
    await rm(aside, { recursive: true, force: true });
    throw error;
  }
}

interface Incoming {
  readonly item: PutItem;
  readonly aside: string;
  readonly folder: boolean;
  /** Sum of the files' sizes. */
  readonly size: number;
  readonly entries: readonly TarEntry[];
}

async function prepare(item: PutItem, name: string): Promise<Incoming> {
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
function* membersOf(incoming: readonly Incoming[], script: string): Generator<TarEntry> {
  const data = Buffer.from(finish(incoming, script));
  yield { path: script.slice(1), mode: 0o600, mtime: new Date(), content: { kind: 'data', data } };
  for (const { entries } of incoming) yield* entries;
}

/** Compares sizes, renames, and removes whatever is left. `$1` is the exit code of tar. */
function finish(incoming: readonly Incoming[], script: string): string {
  const files = incoming.filter(({ folder }) => !folder);
  const sizes = files.map(({ size }) => size).join('\n');
  const steps = ['[ "$1" = 0 ] || return 1'];
  const complain = (text: string) => `{ echo ${q(text)} >&2; return 1; }`;
  if (files.length > 0) {
    const list = files.map(({ aside }) => q(aside)).join(' ');
    steps.push(
      `[ "$(stat -c %s ${list})" = ${q(sizes)} ] || ${complain('the sizes differ from those sent')}`,
    );
  }
  for (const { item, aside, folder, size } of incoming) {
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
  const leftovers = incoming.flatMap(({ aside }) => [q(aside), q(`${aside}-old`)]).join(' ');
  return `all() {\n${steps.join('\n')}\n}\nall "$1"\ns=$?\nrm -rf ${leftovers} ${script}\nexit $s\n`;
}

async function send(session: Session, stop: Stop, chunks: AsyncIterable<Buffer>): Promise<void> {
  let over = false;
  const ended = session.ended.finally(() => {
    over = true;
  });
  ended.catch(() => {});
  try {
    for await (const chunk of chunks) {
      if (over) return; // the guest's tar gave up; its exit code tells
      if (!session.stdin.write(chunk)) await stop.race(Promise.race([once(session.stdin, 'drain'), ended]));
      stop.touch();
    }
    session.stdin.end();
  } catch (error) {
    session.hangUp();
    throw error;
  }
}

/**
 * Sends `$1` as an archive whose only top member is `./<name>`. What the kernel makes up as it is read has no
 * true size, so it is copied first. 66: not there; 67: neither file nor folder.
 */
const SEND = `p=$(readlink -f "$1") && [ -e "$p" ] || exit 66
d=\${p%/*} b=\${p##*/}
if [ -d "$p" ]; then [ -n "$b" ] || exit 67
elif [ -f "$p" ]; then
  made=
  case $p in /proc/*|/sys/*) made=1 ;; esac
  if [ -n "$made" ] || [ ! -s "$p" ]; then
    d=$(mktemp -d) || exit 1
    trap 'rm -rf "$d"' 0
    cat "$p" > "$d/$b" || exit 1
  fi
else exit 67
fi
tar -c -f - -C "$d/" "./$b"`;

async function receive(
  session: Session,
  stop: Stop,
  aside: string,
  maxBytes: number,
): Promise<Omit<Got, 'path'>> {
  const skipped: string[] = [];
  let root: string | undefined;
  let rootIsFile = false;
  let bytes = 0;
  for await (const member of readTar(chunksOf(session, stop, maxBytes))) {
    const [dot, top, ...rest] = member.path.replace(/\/$/, '').split('/');
    const first = root === undefined;
    root ??= top;
    const inside =
      dot === '.' && top !== undefined && top === root && (first ? rest.length === 0 : rest.length > 0);
    if (!inside || rootIsFile || [top, ...rest].some(isUnsafe)) throw unexpected(member);
    if (first && member.kind === 'other') throw unexpected(member);
    rootIsFile = first && member.kind === 'file';
    if (member.kind === 'other') skipped.push(rest.join('/'));
    else await create(member, join(aside, ...rest));
    if (member.kind === 'file') bytes += member.size;
  }
  if (root === undefined) throw notAsAsked('what the guest sent', 'an empty archive');
  return { bytes, skipped };
}

function isUnsafe(name: string): boolean {
  return name === '' || name === '.' || name === '..' || name.includes('\0');
}

/** Never follows nor overwrites anything: whatever has the name already came from the same archive. */
async function create({ kind, mode, path, body }: TarMember, to: string): Promise<void> {
  try {
    if (kind === 'folder') {
      await mkdir(to, { mode: 0o755 });
      return;
    }
    await using file = await open(to, 'wx', (mode & 0o777) | 0o600);
    for await (const chunk of body()) await file.writeFile(chunk);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'EEXIST' && code !== 'ENOENT' && code !== 'ENOTDIR') throw error;
    throw notAsAsked(
      'what the guest sent',
      `${JSON.stringify(path.slice(0, 200))} does not fit what came before`,
    );
  }
}

async function* chunksOf(session: Session, stop: Stop, maxBytes: number): AsyncGenerator<Buffer> {
  const chunks = session.stdout.iterator({ destroyOnReturn: false });
  let total = 0;
  try {
    for (;;) {
      const { done, value } = await stop.race(chunks.next());
      if (done) return;
      stop.touch();
      total += (value as Buffer).length;
      if (total > maxBytes) throw notAsAsked('what the guest sent', `more than ${maxBytes} bytes`);
      yield value as Buffer;
    }
  } finally {
    const left = chunks.return?.(undefined); // not awaited: a pending `next()` holds it up
    left?.then(() => session.stdout.resume()).catch(() => {});
  }
}

function listen(session: Session, both = true): LastLines {
  const last = new LastLines();
  drain(session.stderr, new Tail(0), (line) => last.push(line));
  if (both) drain(session.stdout, new Tail(0), (line) => last.push(line));
  return last;
}

function stopOf(guest: Guest, what: string, { timeouts = guest.timeouts, signal }: TransferOptions): Stop {
  const timeout = timeouts.guestTransfer;
  return new Stop({ what, timeout, onTimeout: () => stuck(what, timeout), signal, death: guest.death });
}

async function isFolder(path: string): Promise<boolean> {
  return await stat(path).then(
    (info) => info.isDirectory(),
    () => false,
  );
}

function checked(name: string, remote: string): string {
  if (isUnsafe(name)) throw badPath(remote);
  return name;
}

function badPath(path: string): LabError {
  return new LabError({
    code: 'guest/path',
    blame: 'user',
    fact: `${JSON.stringify(path)} does not name a file or folder in the guest`,
    next: 'give an absolute path that ends in the name of the file or folder itself',
  });
}

function failed(what: string, exitCode: number, lines: readonly string[]): LabError {
  if (exitCode === 66 || exitCode === 67) {
    const why = exitCode === 66 ? 'it is not there' : 'it is neither a file nor a folder below /';
    return new LabError({
      code: 'guest/no-file',
      blame: 'user',
      fact: `${what} failed: ${why}`,
      next: 'look in the guest: `lab ssh`',
    });
  }
  return new LabError({
    code: 'guest/transfer',
    blame: 'host',
    fact: `${what} failed there with exit code ${exitCode}`,
    evidence: lines,
    next: 'see whether the guest has room: `lab exec -- df -h`',
  });
}

function stuck(what: string, timeout: number): LabError {
  return new LabError({
    code: 'guest/timeout',
    blame: 'host',
    fact: `${what} made no progress for ${(timeout / 1000).toFixed(0)} s`,
    next: 'look at the console for an oops or a hang: `lab logs`',
  });
}

function unexpected({ path, kind }: TarMember): LabError {
  return notAsAsked('what the guest sent', `a member ${JSON.stringify(path.slice(0, 200))} (${kind})`);
}

function notAsAsked(what: string, evidence: string): LabError {
  return new LabError({
    code: 'guest/archive',
    blame: 'host',
    fact: `${what} is not the file or folder that was asked for`,
    evidence: [evidence],
    next: 'nothing of it was kept; see what tampers with tar in the guest',
  });
}

function inTheWay(path: string, cause: unknown): LabError {
  return new LabError({
    code: 'guest/path',
    blame: 'user',
    fact: `${path} cannot be made here`,
    evidence: [cause instanceof Error ? cause.message : String(cause)],
    next: 'give another name, or remove what is there',
    cause,
  });
}
