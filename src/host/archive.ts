import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, open } from 'node:fs/promises';
import { isAbsolute, normalize } from 'node:path';
import { addAbortSignal, finished, PassThrough, type Readable, Transform, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { interrupted, LabError } from '../errors.js';
import { addToLeash, dropFromLeash } from './leash.js';
import { LineSplitter } from './lines.js';
import { killGroup } from './run.js';

export interface UnpackOptions {
  /** Leading folders to remove from each name; default 0. */
  readonly strip?: number;
  readonly signal: AbortSignal;
  /** False leaves the entry out; receives its name in the archive, before `strip`. Slower: for small archives. */
  readonly filter?: (name: string) => boolean;
}

/**
 * Unpacks a tar archive (plain, gzip, xz or bzip2, recognised by its first bytes) into the folder `to`.
 *
 * Times and modes (less the umask) are kept, owners ignored. Absolute names, names and links that leave `to`, device
 * nodes and pipes are refused. What was unpacked before a failure stays: unpack aside and rename.
 *
 * @throws LabError `archive/unsafe`, `archive/damaged`, `archive/tool`, `interrupted`.
 */
export async function unpack(archive: string, to: string, options: UnpackOptions): Promise<void> {
  const { signal } = options;
  const refused: string[] = [];
  try {
    await mkdir(to, { recursive: true });
    await using source = await readPlain(archive, signal);
    await using sink = await extractor(to, options);
    const check = await checker(options.strip ?? 0, refused);
    await flow([source.bytes, check, sink.bytes], [source.ended, sink.ended], signal);
  } catch (cause) {
    if (signal.aborted) throw interrupted(`unpacking ${archive}`);
    if (refused.length > 0) throw unsafe(archive, refused);
    throw cause instanceof LabError && cause.code === 'archive/tool' ? cause : damaged(archive, cause);
  }
}

/** Fails with the reason of the end that failed first by itself, not with the broken pipe that this left behind. */
async function flow(
  [from, check, into]: readonly [Readable, Transform, Writable],
  ends: readonly Promise<void>[],
  signal: AbortSignal,
): Promise<void> {
  const piped = pipeline(from, check, into, { signal });
  await piped.catch(() => {});
  if (signal.aborted) return await piped;
  const outcomes = await Promise.allSettled([...ends, piped]);
  const failures = outcomes.flatMap((o) => (o.status === 'rejected' ? [o.reason as Error] : []));
  const own = failures.find((e) => !(e instanceof ToolFailure && e.signal === 'SIGPIPE'));
  if (failures.length > 0) throw own ?? failures[0];
}

class ToolFailure extends Error {
  constructor(
    tool: string,
    code: number | null,
    readonly signal: NodeJS.Signals | null,
    said: readonly string[],
  ) {
    super([`${tool}: ${signal ?? `exit code ${code}`}`, ...said.slice(0, 5)].join('\n'));
  }
}

interface End<T> extends AsyncDisposable {
  readonly bytes: T;
  /** Settles when the program at this end is done; rejects when it failed. */
  readonly ended: Promise<void>;
}

const MAGIC = [
  { tool: 'gzip', bytes: [0x1f, 0x8b] },
  { tool: 'xz', bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
  { tool: 'bzip2', bytes: [0x42, 0x5a, 0x68] },
] as const;

/**
 * The bytes of `archive`, without its compression unless `decompress` is false; an abort destroys them. Dispose it;
 * `ended` must have settled before the bytes count.
 *
 * @throws LabError `archive/damaged` when it cannot be read, `archive/tool`, `interrupted`.
 */
export async function readPlain(
  archive: string,
  signal: AbortSignal,
  decompress = true,
): Promise<End<Readable>> {
  if (signal.aborted) throw interrupted(`reading ${archive}`);
  const file = await open(archive).catch((cause) => Promise.reject(damaged(archive, cause)));
  const head = Buffer.alloc(6);
  await file.read(head, 0, 6, 0);
  const tool = MAGIC.find(({ bytes }) => bytes.every((byte, i) => head[i] === byte))?.tool;
  if (tool === undefined || !decompress) {
    const bytes = addAbortSignal(signal, file.createReadStream({ start: 0, highWaterMark: 1 << 20 }));
    return { bytes, ended: Promise.resolve(), [Symbol.asyncDispose]: async () => void bytes.destroy() };
  }
  await file.close();
  const { child, ended, [Symbol.asyncDispose]: dispose } = start(tool, ['-dc', '--', archive]);
  // Node throws away what is unread in stdout when a child exits, so it is taken over at once.
  const bytes = addAbortSignal(signal, (child.stdout as Readable).pipe(new PassThrough()));
  bytes.once('close', () => child.stdout?.destroy());
  return { bytes, ended, [Symbol.asyncDispose]: dispose };
}

/**
 * GNU tar writes the files: with Linux's 86 000 entries it takes 16 s where the `tar` package takes 60 s and
 * 460 MB. It never writes through a link that it unpacked, so that a link is still unused when the check refuses it.
 * Only the package can ask a filter.
 */
async function extractor(to: string, { strip = 0, filter }: UnpackOptions): Promise<End<Writable>> {
  if (filter !== undefined) {
    const { extract } = await import('tar');
    const wanted = (name: string) => filter(name);
    const bytes = extract({ cwd: to, strip, preserveOwner: false, strict: true, filter: wanted });
    return {
      bytes: bytes as unknown as Writable,
      ended: Promise.resolve(),
      [Symbol.asyncDispose]: async () => {},
    };
  }
  const args = ['-x', '--no-same-owner', '--no-same-permissions', `--strip-components=${strip}`, '-C', to];
  const { child, ended, [Symbol.asyncDispose]: dispose } = start('tar', [...args, '-f', '-']);
  return { bytes: inputOf(child), ended, [Symbol.asyncDispose]: dispose };
}

/**
 * A program's input that may be closed before all is written: tar ends at the archive's end marker, and what follows
 * it is still to be read, so that damage there is seen.
 */
function inputOf(child: ChildProcess): Writable {
  const stdin = child.stdin as Writable;
  const failed = () => child.exitCode !== null && child.exitCode !== 0;
  const done = (next: (error?: Error) => void) =>
    next(failed() ? new Error('the program has failed') : undefined);
  return new Writable({
    write: (chunk, _encoding, next) => void stdin.write(chunk, () => done(next)),
    final: (next) => {
      finished(stdin, { readable: false }, () => done(next)); // `end` itself never calls back once it is destroyed
      stdin.end();
    },
    destroy: (error, next) => {
      stdin.destroy(); // the program sees the end of its input, early or not
      next(error);
    },
  });
}

/** Passes the tar on unchanged and fails at the first entry that must not be written, adding it to `refused`. */
async function checker(strip: number, refused: string[]): Promise<Transform> {
  const { list } = await import('tar');
  let bad: Error | undefined;
  const parser = list({
    strict: true,
    onReadEntry: (entry) => {
      const why = refusal(entry, strip);
      if (why === undefined) return;
      refused.push(`${entry.path}: ${why}`);
      bad ??= new Error(why);
    },
  });
  parser.on('error', (error: Error) => {
    bad ??= error;
  });
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      parser.write(chunk);
      done(bad ?? null, chunk);
    },
    flush(done) {
      parser.end();
      done(bad ?? null);
    },
  });
}

interface Entry {
  readonly path: string;
  readonly type: string;
  readonly linkpath?: string | undefined;
}

const KINDS = new Set([
  'File',
  'OldFile',
  'ContiguousFile',
  'Directory',
  'GNUDumpDir',
  'Link',
  'SymbolicLink',
]);

/** Why an entry must not be written, by its name, kind and link target. */
function refusal({ path, type, linkpath = '' }: Entry, strip: number): string | undefined {
  if (isAbsolute(path)) return 'absolute name';
  if (leaves(path)) return 'its name leaves the target folder';
  if (!KINDS.has(type)) return `entries of type ${type} are not unpacked`;
  if (type === 'Link')
    return isAbsolute(linkpath) || leaves(linkpath) ? `is a link to ${linkpath}` : undefined;
  if (type !== 'SymbolicLink') return undefined;
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  const target = [...parts.slice(strip, -1), linkpath].join('/');
  return isAbsolute(linkpath) || leaves(target) ? `is a link to ${linkpath}` : undefined;
}

function leaves(path: string): boolean {
  const flat = normalize(path);
  return flat === '..' || flat.startsWith('../');
}

interface Tool extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly ended: Promise<void>;
}

/** A program in a pipe, in a group of its own that dies with us; disposing kills it if it still runs. */
function start(tool: string, args: readonly string[]): Tool {
  const child = spawn(tool, args, { detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
  const { pid } = child;
  if (pid !== undefined) addToLeash(pid);
  const said: string[] = [];
  const lines = new LineSplitter((line) => said.push(line));
  child.stderr?.on('data', (chunk: Buffer) => lines.push(chunk));
  child.stdin?.on('error', () => {}); // it ended early: its exit code and stderr tell why
  const ended = new Promise<void>((resolve, reject) => {
    child.on('error', (cause) => reject(toolMissing(tool, cause)));
    child.on('close', (code, signal) => {
      if (pid !== undefined) dropFromLeash(pid);
      if (code === 0) resolve();
      else reject(new ToolFailure(tool, code, signal, said));
    });
  });
  ended.catch(() => {}); // whoever awaits it sees the failure; a disposed tool has nobody left to tell
  return {
    child,
    ended,
    [Symbol.asyncDispose]: async () => {
      if (pid !== undefined && child.exitCode === null && child.signalCode === null) killGroup(pid);
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy();
      await ended.catch(() => {});
    },
  };
}

function unsafe(archive: string, refused: readonly string[]): LabError {
  return new LabError({
    code: 'archive/unsafe',
    blame: 'user',
    fact: `${archive} holds entries that do not belong in a folder of its own`,
    evidence: refused.slice(0, 10),
    next: 'do not trust it; get the archive from its publisher again',
  });
}

function damaged(archive: string, cause: unknown): LabError {
  return new LabError({
    code: 'archive/damaged',
    blame: 'user',
    fact: `${archive} could not be unpacked`,
    evidence: cause instanceof Error ? cause.message.split('\n') : [String(cause)],
    next: 'check that it is a whole tar archive (plain, gzip, xz or bzip2) and that the disk has space',
    cause,
  });
}

function toolMissing(tool: string, cause: Error): LabError {
  return new LabError({
    code: 'archive/tool',
    blame: 'host',
    fact: `the program ${tool}, which unpacks archives, could not be started`,
    evidence: [cause.message],
    next: '`lab doctor --fix` installs it',
    cause,
  });
}
