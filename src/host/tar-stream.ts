import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError } from '../errors.js';

/** One member of an archive that is written. */
export interface TarEntry {
  readonly path: string;
  readonly mode: number;
  /** Whole seconds are kept. */
  readonly mtime: Date;
  readonly content:
    | { readonly kind: 'data'; readonly data: Uint8Array }
    | { readonly kind: 'file'; readonly file: string; readonly size: number }
    | { readonly kind: 'folder' }
    | { readonly kind: 'link'; readonly target: string };
}

/** One member of an archive that is read. Its `body` can be read, once, before the next member is asked for. */
export interface TarMember {
  /** As it stands in the archive: not to be trusted. */
  readonly path: string;
  readonly kind: 'file' | 'folder' | 'other';
  /** What the archive calls it: `SymbolicLink`, `CharacterDevice`, … */
  readonly type: string;
  /** Target of a link; not to be trusted either. */
  readonly target?: string;
  readonly mode: number;
  readonly mtime?: Date;
  readonly size: number;
  readonly body: () => AsyncGenerator<Buffer>;
}

const BLOCK = 512;
/** Longest name that is accepted; PATH_MAX of Linux. */
const LONGEST_NAME = 4096;

/**
 * An archive as a stream, in the format that GNU tar and busybox both read: names beyond 100 bytes in GNU's way.
 *
 * @throws LabError `tar/changed` when a file is longer or shorter than its entry says.
 */
export async function* packTar(
  entries: AsyncIterable<TarEntry> | Iterable<TarEntry>,
): AsyncGenerator<Buffer> {
  const { Header } = await import('tar');
  const header = (
    type: 'File' | 'Directory' | 'SymbolicLink' | 'NextFileHasLongPath' | 'NextFileHasLongLinkpath',
    fields: object,
  ) => {
    const block = Buffer.alloc(BLOCK);
    new Header({ type, uid: 0, gid: 0, ...fields }).encode(block);
    return block;
  };
  const long = (type: 'NextFileHasLongPath' | 'NextFileHasLongLinkpath', name: string) => {
    const bytes = Buffer.from(`${name}\0`);
    return [
      header(type, { path: '././@LongLink', mode: 0o644, size: bytes.length }),
      bytes,
      padding(bytes.length),
    ];
  };
  for await (const { path, mode, mtime, content } of entries) {
    const type = content.kind === 'folder' ? 'Directory' : content.kind === 'link' ? 'SymbolicLink' : 'File';
    const size = content.kind === 'data' ? content.data.length : content.kind === 'file' ? content.size : 0;
    const linkpath = content.kind === 'link' ? content.target : undefined;
    if (linkpath !== undefined && Buffer.byteLength(linkpath) > 99)
      yield* long('NextFileHasLongLinkpath', linkpath);
    if (Buffer.byteLength(path) > 99) yield* long('NextFileHasLongPath', path);
    const seconds = new Date(Math.max(0, Math.floor(mtime.getTime() / 1000)) * 1000);
    yield header(type, { path, mode, mtime: seconds, size, ...(linkpath === undefined ? {} : { linkpath }) });
    if (content.kind === 'data') yield Buffer.from(content.data);
    if (content.kind === 'file') yield* exactly(content.file, size);
    yield padding(size);
  }
  yield Buffer.alloc(2 * BLOCK);
}

/**
 * The entries of a file or of a whole folder here, under the name `as`; folders come before what is in them.
 *
 * @throws LabError `tar/kind` for a device, a socket or a pipe.
 */
export async function* entriesOf(from: string, as: string): AsyncGenerator<TarEntry> {
  const info = await lstat(from);
  const common = { path: as, mode: info.mode & 0o7777, mtime: info.mtime };
  if (info.isFile()) yield { ...common, content: { kind: 'file', file: from, size: info.size } };
  else if (info.isSymbolicLink())
    yield { ...common, content: { kind: 'link', target: await readlink(from) } };
  else if (info.isDirectory()) {
    yield { ...common, content: { kind: 'folder' } };
    for (const name of (await readdir(from)).sort()) yield* entriesOf(join(from, name), `${as}/${name}`);
  } else throw notCopied(from);
}

/**
 * The members of an archive from somebody who is not trusted, in order. Nothing is decompressed, nothing is written.
 *
 * @throws LabError `tar/damaged` when it is no archive, is cut short, or holds absurd lengths.
 */
export async function* readTar(source: AsyncIterable<Buffer>): AsyncGenerator<TarMember> {
  const { Header } = await import('tar');
  const bytes = new ByteReader(source);
  try {
    for (let path: string | undefined; ; ) {
      const header = new Header(await bytes.exactly(BLOCK));
      if (header.nullBlock) return await bytes.rest();
      const size = header.size ?? 0;
      if (!header.cksumValid || !Number.isSafeInteger(size) || size < 0)
        throw damaged('a header is not valid');
      if (META.has(header.type)) {
        path = pathIn(header.type, await bytes.text(size)) ?? path;
        continue;
      }
      const end = bytes.at + size + paddingOf(size);
      const kind = KINDS.get(header.type) ?? 'other';
      const mode = header.mode ?? 0o644;
      const { type, mtime, linkpath: target } = header;
      const more = { ...(mtime === undefined ? {} : { mtime }), ...(target ? { target } : {}) };
      yield {
        path: path ?? header.path ?? '',
        mode,
        size,
        kind,
        type,
        ...more,
        body: () => bytes.chunks(size),
      };
      path = undefined;
      for await (const _ of bytes.chunks(end - bytes.at)); // what the reader left, and the padding
    }
  } finally {
    await bytes.close();
  }
}

const KINDS = new Map<string, TarMember['kind']>([
  ['File', 'file'],
  ['OldFile', 'file'],
  ['ContiguousFile', 'file'],
  ['Directory', 'folder'],
]);

/** Members that only say something about the one that follows. */
const META = new Set<string>([
  'NextFileHasLongPath',
  'OldGnuLongPath',
  'NextFileHasLongLinkpath',
  'ExtendedHeader',
  'OldExtendedHeader',
  'GlobalExtendedHeader',
]);

function pathIn(type: string, text: string): string | undefined {
  if (type === 'NextFileHasLongPath' || type === 'OldGnuLongPath') return text.split('\0', 1)[0];
  if (type === 'NextFileHasLongLinkpath') return undefined;
  return /^\d+ path=(.*)$/m.exec(text)?.[1];
}

/** A byte stream read in the portions that the reader wants. */
class ByteReader {
  /** Bytes taken so far. */
  at = 0;
  readonly #source: AsyncIterator<Buffer>;
  #held: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async exactly(length: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for await (const part of this.chunks(length)) parts.push(part);
    return Buffer.concat(parts);
  }

  async *chunks(length: number): AsyncGenerator<Buffer> {
    for (let left = length; left > 0; ) {
      if (this.#held.length === 0) {
        const { done, value } = await this.#source.next();
        if (done) throw damaged('it is cut short');
        this.#held = value;
      }
      const part = this.#held.subarray(0, left);
      this.#held = this.#held.subarray(part.length);
      left -= part.length;
      this.at += part.length;
      yield part;
    }
  }

  /** A name with its padding. */
  async text(size: number): Promise<string> {
    if (size > 4 * LONGEST_NAME) throw damaged(`a name of ${size} bytes`);
    const text = (await this.exactly(size)).toString('utf8');
    await this.exactly(paddingOf(size));
    return text;
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }

  /** Reads on to the end of the stream: its writer is still to say whether all was well. */
  async rest(): Promise<void> {
    this.#held = Buffer.alloc(0);
    while (!(await this.#source.next()).done);
  }
}

async function* exactly(file: string, size: number): AsyncGenerator<Buffer> {
  let sent = 0;
  if (size > 0) {
    for await (const chunk of createReadStream(file, { end: size - 1, highWaterMark: 256 * 1024 })) {
      sent += (chunk as Buffer).length;
      yield chunk as Buffer;
    }
  }
  if (sent !== size || (await lstat(file)).size !== size) throw changed(file, size);
}

function padding(size: number): Buffer {
  return Buffer.alloc(paddingOf(size));
}

function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

function notCopied(path: string): LabError {
  return new LabError({
    code: 'tar/kind',
    blame: 'user',
    fact: `${path} is neither a file, a folder nor a symbolic link`,
    next: 'leave it out of what is copied',
  });
}

function changed(path: string, size: number): LabError {
  return new LabError({
    code: 'tar/changed',
    blame: 'user',
    fact: `${path} changed while it was copied`,
    evidence: [`it had ${size} bytes when the copy began`],
    next: 'copy it again when nothing writes to it',
  });
}

function damaged(why: string): LabError {
  return new LabError({
    code: 'tar/damaged',
    blame: 'host',
    fact: `an archive cannot be read: ${why}`,
    next: 'see what its sender says',
  });
}
