import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, posix } from 'node:path';
import { LabError } from '../errors.js';
import { packTar } from '../host/tar-stream.js';
import type { Timeouts } from '../timeouts.js';
import type { Guest } from './guest.js';
import { isUnsafe, notAsAsked, type Received, receive, SEND } from './incoming.js';
import { badPath, membersOf, type PutItem, prepare } from './outgoing.js';
import { drain, LastLines, Tail } from './output.js';
import type { Ended, Session } from './session.js';
import { Stop } from './stop.js';
import { record } from './transcript.js';

export type { PutItem } from './outgoing.js';

export interface TransferOptions {
  /** Default the guest's; `guestTransfer` is the longest time without progress. */
  readonly timeouts?: Timeouts | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface GetOptions extends TransferOptions {
  /** Default 1 GiB, names and padding included. */
  readonly maxBytes?: number;
}

export interface Got extends Received {
  /** Where it is now. */
  readonly path: string;
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
  const outgoing = await Promise.all(items.map((item, i) => prepare(item, `${mark}-${i}`)));
  const script = `/tmp/${mark}.sh`;
  const what = `copying ${items.map(({ to }) => to).join(', ')} to the guest`;
  using stop = stopOf(guest, what, options);
  const command = `umask 022; tar -x -o -p -f - -C /; sh ${script} $?`;
  const session = await guest.session(command, options);
  const said = listen(session);
  const { exitCode } = await send(session, stop, packTar(membersOf(outgoing, script)));
  if (exitCode !== 0) throw failed(what, exitCode, said.lines);
  const bytes = outgoing.reduce((sum, { size }) => sum + size, 0);
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

async function send(session: Session, stop: Stop, chunks: AsyncIterable<Buffer>): Promise<Ended> {
  let over = false;
  const ended = session.ended.finally(() => {
    over = true;
  });
  ended.catch(() => {});
  try {
    for await (const chunk of chunks) {
      if (over) break; // the guest's tar gave up; its exit code tells
      if (!session.stdin.write(chunk)) await stop.race(Promise.race([once(session.stdin, 'drain'), ended]));
      stop.touch();
    }
    session.stdin.end();
    return await stop.race(session.ended);
  } catch (error) {
    session.hangUp(); // and no signal: the script that tidies up is to run
    throw error;
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
