import { lstat, open, readdir, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { readPlain } from '../host/archive.js';
import { readTar, type TarMember } from '../host/tar-stream.js';
import { openZip, type ZipMember } from '../host/zip.js';

/** Something in a folder or an archive, before anybody has looked at it. */
export interface Entry {
  /** As it stands there: not to be trusted. */
  readonly raw: string;
  readonly kind: 'file' | 'link' | 'special';
  /** Target of a link, kind of a special file. */
  readonly what: string;
  /** Bytes, as declared. */
  readonly size: number;
  readonly mtime?: Date | undefined;
  /** At most the first `limit` bytes; asked for, if at all, once and before the next entry. */
  readonly read: (limit: number) => Promise<Buffer>;
}

/** The files below a folder, links not followed. Folders that `skip` names are not entered: they are one entry. */
export async function* folderEntries(
  root: string,
  skip: (name: string) => boolean,
  below = '',
): AsyncGenerator<Entry> {
  const children = await readdir(join(root, below), { withFileTypes: true });
  for (const child of children.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = below === '' ? child.name : `${below}/${child.name}`;
    if (!child.isDirectory()) yield await fileEntry(join(root, name), name);
    else if (!skip(`${name}/`)) yield* folderEntries(root, skip, name);
    else for await (const { size } of sizes(join(root, name))) yield nothingToRead(`${name}/`, size);
  }
}

async function* sizes(dir: string): AsyncGenerator<{ size: number }> {
  for (const child of await readdir(dir, { withFileTypes: true })) {
    if (child.isDirectory()) yield* sizes(join(dir, child.name));
    else yield { size: (await lstat(join(dir, child.name))).size };
  }
}

function nothingToRead(raw: string, size: number): Entry {
  return { raw, kind: 'file', what: '', size, read: async () => Buffer.alloc(0) };
}

/** One file, link or special file of the host. */
export async function fileEntry(path: string, raw = basename(path)): Promise<Entry> {
  const info = await lstat(path);
  const common = { raw, size: info.size, mtime: info.mtime, read: (limit: number) => head(path, limit) };
  if (info.isFile()) return { ...common, kind: 'file', what: '' };
  if (info.isSymbolicLink()) return { ...common, kind: 'link', what: await readlink(path) };
  const what = info.isFIFO() ? 'a pipe' : info.isSocket() ? 'a socket' : 'a device';
  return { ...common, kind: 'special', what };
}

async function head(path: string, limit: number): Promise<Buffer> {
  const file = await open(path);
  try {
    const parts: Buffer[] = [];
    if (limit > 0)
      for await (const part of file.createReadStream({ end: limit - 1 })) parts.push(part as Buffer);
    return Buffer.concat(parts);
  } finally {
    await file.close();
  }
}

/** @throws LabError `zip/refused`, `zip/damaged`; `read` as well. */
export async function* zipEntries(path: string): AsyncGenerator<Entry> {
  await using zip = await openZip(path);
  for (const member of zip.members) if (member.kind !== 'folder') yield zipEntry(member);
}

/** A member that declares more than is asked for is not inflated at all. */
function zipEntry({ path, kind, size, mtime, body }: ZipMember): Entry {
  const read = async (limit: number) => (size > limit ? Buffer.alloc(0) : await body());
  return { raw: path, kind: kind === 'other' ? 'link' : 'file', what: '', size, mtime, read };
}

/**
 * The members of a tar archive, compressed or not; a compressed file that is no archive is one entry. `onBytes` hears
 * of every unpacked byte, also of those that are passed over; what it throws ends the reading.
 *
 * @throws LabError `tar/damaged`, `archive/damaged`, `archive/tool`; other errors from the decompressor.
 */
export async function* tarEntries(
  path: string,
  signal: AbortSignal,
  onBytes: (count: number) => void,
): AsyncGenerator<Entry> {
  await using plain = await readPlain(path, signal);
  const peeked = await peek(tapped(plain.bytes, onBytes));
  if (!isTar(peeked.first)) {
    yield streamEntry(basename(path).replace(/\.(gz|xz|bz2)$/i, ''), peeked.all);
    return;
  }
  for await (const member of readTar(peeked.all)) if (member.kind !== 'folder') yield tarEntry(member);
  await plain.ended;
}

async function* tapped(
  bytes: AsyncIterable<Buffer>,
  onBytes: (count: number) => void,
): AsyncGenerator<Buffer> {
  for await (const chunk of bytes) {
    onBytes(chunk.length);
    yield chunk;
  }
}

/** The magic at its place, or a checksum that fits for archives of before 1988. */
export function isTar(first: Buffer): boolean {
  if (first.length < 512) return false;
  if (first.toString('latin1', 257, 262) === 'ustar') return true;
  const declared = Number.parseInt(first.toString('latin1', 148, 156), 8);
  const blanked = Buffer.from(first.subarray(0, 512)).fill(' ', 148, 156);
  return declared > 256 && blanked.reduce((sum, byte) => sum + byte, 0) === declared;
}

interface Peeked {
  readonly first: Buffer;
  readonly all: AsyncIterable<Buffer>;
}

async function peek(source: AsyncIterator<Buffer>): Promise<Peeked> {
  const held: Buffer[] = [];
  let length = 0;
  while (length < 512) {
    const { done, value } = await source.next();
    if (done) break;
    held.push(value);
    length += value.length;
  }
  const first = Buffer.concat(held);
  async function* all(): AsyncGenerator<Buffer> {
    try {
      if (first.length > 0) yield first;
      for (let next = await source.next(); !next.done; next = await source.next()) yield next.value;
    } finally {
      await source.return?.();
    }
  }
  return { first, all: all() };
}

function streamEntry(raw: string, bytes: AsyncIterable<Buffer>): Entry {
  return { raw, kind: 'file', what: '', size: 0, read: (limit) => upTo(limit, bytes) };
}

function tarEntry(member: TarMember): Entry {
  const kind = member.kind === 'file' ? 'file' : /link/i.test(member.type) ? 'link' : 'special';
  return {
    raw: member.path,
    kind,
    what: kind === 'link' ? (member.target ?? '') : member.type,
    size: member.size,
    mtime: member.mtime,
    read: (limit) => upTo(limit, member.body()),
  };
}

async function upTo(limit: number, bytes: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  let room = limit;
  for await (const part of bytes) {
    parts.push(part.subarray(0, room));
    room -= Math.min(room, part.length);
    if (room === 0) break;
  }
  return Buffer.concat(parts);
}
