import { type FileHandle, open } from 'node:fs/promises';
import { promisify } from 'node:util';
import { crc32, inflateRaw } from 'node:zlib';
import { LabError } from '../errors.js';

/** One entry of a zip archive. */
export interface ZipMember {
  /** As it stands in the archive: not to be trusted. */
  readonly path: string;
  /** `other`: a symbolic link or a special file. */
  readonly kind: 'file' | 'folder' | 'other';
  /** Bytes, unpacked, as declared; `body` checks it. */
  readonly size: number;
  /** Bytes within the archive. */
  readonly packed: number;
  readonly mtime?: Date;
  /**
   * Its content.
   *
   * @throws LabError `zip/damaged` when size or checksum differ from what is declared.
   */
  readonly body: () => Promise<Buffer>;
}

export interface Zip extends AsyncDisposable {
  readonly members: readonly ZipMember[];
}

const inflate = promisify(inflateRaw);
const END = 0x06054b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const END_SIZE = 22;
const CENTRAL_SIZE = 46;
const LOCAL_SIZE = 30;
const LONGEST_COMMENT = 0xffff;
/** Bytes of the list of contents that are accepted: 65535 names of 500 bytes each. */
const LARGEST_DIRECTORY = 32 * 1024 * 1024;
const UTF8_FLAG = 0x800;
const ENCRYPTED_FLAGS = 0x41;
const STORED = 0;
const DEFLATED = 8;

/**
 * Opens a zip archive from somebody who is not trusted, by its list of contents. Nothing is inflated until it is
 * asked for, and never more than was declared.
 *
 * @throws LabError `zip/damaged` when it is no zip archive; `zip/refused` for one that is encrypted, split, of more
 *   than 4 GiB or 65534 entries, compressed in an unusual way, or whose entries overlap.
 */
export async function openZip(path: string): Promise<Zip> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const end = await findEnd(file, size);
    const entries = parseDirectory(await directoryOf(file, end), end.entries);
    const limits = limitsOf(entries, end.offset);
    const members = entries.map((entry) => memberOf(file, entry, limits.get(entry) ?? 0));
    return { members, [Symbol.asyncDispose]: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

interface End {
  readonly entries: number;
  readonly size: number;
  readonly offset: number;
}

async function findEnd(file: FileHandle, size: number): Promise<End> {
  const length = Math.min(size, END_SIZE + LONGEST_COMMENT);
  const from = size - length;
  const tail = await readAt(file, from, length);
  for (let at = length - END_SIZE; at >= 0; at -= 1) {
    if (tail.readUInt32LE(at) !== END || at + END_SIZE + tail.readUInt16LE(at + 20) !== length) continue;
    return endAt(tail.subarray(at), from + at);
  }
  throw damaged('its list of contents is missing: the file is cut short or no zip archive');
}

function endAt(record: Buffer, position: number): End {
  const entries = record.readUInt16LE(10);
  const [size, offset] = [record.readUInt32LE(12), record.readUInt32LE(16)];
  if (entries === 0xffff || size === 0xffffffff || offset === 0xffffffff)
    throw refused('it is in the format for more than 4 GiB or 65534 entries');
  if (record.readUInt16LE(4) !== 0 || record.readUInt16LE(6) !== 0 || record.readUInt16LE(8) !== entries)
    throw refused('it is one piece of an archive in several files');
  if (size > LARGEST_DIRECTORY) throw refused(`its list of contents alone has ${size} bytes`);
  if (offset + size > position) throw damaged('its list of contents lies outside of it');
  return { entries, size, offset };
}

function directoryOf(file: FileHandle, end: End): Promise<Buffer> {
  return readAt(file, end.offset, end.size);
}

interface Entry {
  readonly path: string;
  readonly name: Buffer;
  readonly kind: ZipMember['kind'];
  readonly method: number;
  readonly crc: number;
  readonly packed: number;
  readonly size: number;
  readonly offset: number;
  readonly mtime: Date | undefined;
}

function parseDirectory(bytes: Buffer, count: number): Entry[] {
  const entries: Entry[] = [];
  let at = 0;
  for (let i = 0; i < count; i += 1) {
    if (at + CENTRAL_SIZE > bytes.length || bytes.readUInt32LE(at) !== CENTRAL)
      throw damaged('its list of contents is not valid');
    const [name, extra, comment] = [28, 30, 32].map((field) => bytes.readUInt16LE(at + field)) as [
      number,
      number,
      number,
    ];
    const next = at + CENTRAL_SIZE + name + extra + comment;
    if (next > bytes.length) throw damaged('its list of contents is not valid');
    entries.push(parseEntry(bytes.subarray(at, next), name, extra));
    at = next;
  }
  const names = new Set(entries.map(({ path }) => path));
  if (names.size !== entries.length) throw refused('it holds the same name twice');
  return entries;
}

function parseEntry(record: Buffer, nameLength: number, extraLength: number): Entry {
  const name = record.subarray(CENTRAL_SIZE, CENTRAL_SIZE + nameLength);
  const extra = record.subarray(CENTRAL_SIZE + nameLength, CENTRAL_SIZE + nameLength + extraLength);
  const flags = record.readUInt16LE(8);
  const path = nameOf(name, flags);
  const method = record.readUInt16LE(10);
  const packed = record.readUInt32LE(20);
  const size = record.readUInt32LE(24);
  const offset = record.readUInt32LE(42);
  if ((flags & ENCRYPTED_FLAGS) !== 0) throw refused(`${path} is encrypted`);
  if (method !== STORED && method !== DEFLATED)
    throw refused(`${path} is compressed with method ${method}, not with deflate`);
  if ([packed, size, offset].includes(0xffffffff)) throw refused(`${path} claims more than 4 GiB`);
  if (method === STORED && packed !== size) throw damaged(`${path} has two different sizes`);
  const mtime = unixTime(extra) ?? dosTime(record.readUInt16LE(14), record.readUInt16LE(12));
  const kind = kindOf(path, record.readUInt16LE(4) >> 8, record.readUInt32LE(38));
  return { path, name, kind, method, crc: record.readUInt32LE(16), packed, size, offset, mtime };
}

/** Names without the flag are mostly UTF-8 as well; where they are not, every byte stands for one character. */
function nameOf(bytes: Buffer, flags: number): string {
  const text = bytes.toString('utf8');
  return (flags & UTF8_FLAG) !== 0 || !text.includes('\ufffd') ? text : bytes.toString('latin1');
}

const UNIX_HOSTS = [3, 19];
const FILE_TYPE = 0o170000;

function kindOf(path: string, host: number, attributes: number): ZipMember['kind'] {
  const type = UNIX_HOSTS.includes(host) ? (attributes >>> 16) & FILE_TYPE : 0;
  if (type !== 0 && type !== 0o100000 && type !== 0o040000) return 'other';
  return path.endsWith('/') || path.endsWith('\\') || type === 0o040000 ? 'folder' : 'file';
}

/** The extra field 0x5455: seconds since 1970, UTC. */
function unixTime(extra: Buffer): Date | undefined {
  for (let at = 0; at + 4 <= extra.length; ) {
    const length = extra.readUInt16LE(at + 2);
    if (extra.readUInt16LE(at) === 0x5455 && length >= 5 && at + 9 <= extra.length)
      return new Date(extra.readInt32LE(at + 5) * 1000);
    at += 4 + length;
  }
  return undefined;
}

/** Local time of an unknown place, taken as ours. */
function dosTime(date: number, time: number): Date | undefined {
  if (date === 0) return undefined;
  const [year, month, day] = [1980 + (date >> 9), ((date >> 5) & 15) - 1, date & 31];
  return new Date(year, month, day, time >> 11, (time >> 5) & 63, (time & 31) * 2);
}

/** For each entry the offset at which its bytes must have ended. */
function limitsOf(entries: readonly Entry[], directory: number): Map<Entry, number> {
  const sorted = [...entries].sort((a, b) => a.offset - b.offset);
  const limits = new Map<Entry, number>();
  for (const [i, entry] of sorted.entries()) {
    const limit = sorted[i + 1]?.offset ?? directory;
    if (entry.offset + LOCAL_SIZE + entry.name.length + entry.packed > limit)
      throw refused(`${entry.path} overlaps with another entry`);
    limits.set(entry, limit);
  }
  return limits;
}

function memberOf(file: FileHandle, entry: Entry, limit: number): ZipMember {
  const { path, kind, size, packed, mtime } = entry;
  const body = () => bodyOf(file, entry, limit);
  return { path, kind, size, packed, body, ...(mtime === undefined ? {} : { mtime }) };
}

async function bodyOf(file: FileHandle, entry: Entry, limit: number): Promise<Buffer> {
  const { path, offset, packed, size } = entry;
  const header = await readAt(file, offset, LOCAL_SIZE + entry.name.length);
  if (header.readUInt32LE(0) !== LOCAL || !header.subarray(LOCAL_SIZE).equals(entry.name))
    throw damaged(`${path} is not where the list of contents says`);
  const start = offset + LOCAL_SIZE + header.readUInt16LE(26) + header.readUInt16LE(28);
  if (start + packed > limit) throw refused(`${path} overlaps with another entry`);
  const bytes = await readAt(file, start, packed);
  const data = entry.method === STORED ? bytes : await inflated(bytes, entry);
  if (data.length !== size || crc32(data) !== entry.crc) throw damaged(`${path} has a wrong checksum`);
  return data;
}

async function inflated(bytes: Buffer, { path, size }: Entry): Promise<Buffer> {
  try {
    return await inflate(bytes, { maxOutputLength: Math.max(1, size) });
  } catch (cause) {
    const longer = (cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
    throw longer
      ? refused(`${path} unpacks to more than the ${size} bytes it declares`, cause)
      : damaged(`${path} cannot be inflated`, cause);
  }
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position);
  if (bytesRead !== length) throw damaged('it is cut short');
  return buffer;
}

function refused(why: string, cause?: unknown): LabError {
  return new LabError({
    code: 'zip/refused',
    blame: 'submission',
    fact: `a zip archive is not opened: ${why}`,
    next: 'make a plain zip archive of the files again',
    cause,
  });
}

function damaged(why: string, cause?: unknown): LabError {
  return new LabError({
    code: 'zip/damaged',
    blame: 'submission',
    fact: `a zip archive cannot be read: ${why}`,
    next: 'make the archive again and check it with `unzip -t`',
    cause,
  });
}
