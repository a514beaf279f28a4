import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type Entry, fileEntry, folderEntries, isTar, tarEntries, zipEntries } from './entries.js';
import { counted, isBuildProduct, isJunk, plainName, sizeInWords, staysInside } from './names.js';
import { isAboutArchive, problem } from './problems.js';
import type { IntakeProblem } from './submission.js';
import { isBinary } from './text.js';

/** A file of a hand-in that may matter. */
export interface HandedFile {
  /** Within the hand-in; that of an archive inside it is part of the name. */
  readonly name: string;
  readonly data: Buffer;
  readonly sha256: string;
  readonly mtime?: Date | undefined;
}

export interface Collected {
  readonly files: readonly HandedFile[];
  /** sha256, hex, over names and bytes; what was left out counts by name and size. */
  readonly digest: string;
  readonly newest?: Date;
  readonly changes: readonly string[];
  readonly problems: readonly IntakeProblem[];
  /** Every file handed in that was not left out, for the record. */
  readonly listing: readonly { readonly name: string; readonly size: number; readonly sha256: string }[];
}

export interface CollectOptions {
  /** Empty folder for archives found within archives. */
  readonly scratch: string;
  /** True for a file that is as well part of a source tree, by its name, and need not be looked at. */
  readonly isTreeFile: (name: string) => boolean;
  readonly signal: AbortSignal;
}

const MOST_FILES = 20_000;
const MOST_BYTES = 200e6;
const MOST_PER_FILE = 32e6;
/** Build products of a whole kernel included. */
const MOST_UNPACKED = 8e9;
/** An archive that grows more than this is a bomb; build products grow by 3 to 10. */
const MOST_RATIO = 300;
const DEEPEST = 2;

/**
 * Everything in a folder, an archive (also archives within it) or a single file that may matter, read into memory.
 * Nothing of it is written anywhere but archives that stand in another archive.
 */
export async function collect(
  path: string,
  kind: 'folder' | 'file',
  options: CollectOptions,
): Promise<Collected> {
  const collector = new Collector(options);
  try {
    if (kind === 'folder') await collector.takeAll(folderEntries(path, isBuildProduct), '', 0);
    else await collector.take(await fileEntry(path), basename(path), 0, path);
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    collector.stop(error.problem);
  }
  return collector.result();
}

/** Ends the reading of a hand-in of which nothing is graded. */
class Stop extends Error {
  constructor(readonly problem: IntakeProblem) {
    super(problem.fact);
  }
}

class Collector {
  readonly #options: CollectOptions;
  readonly #files: HandedFile[] = [];
  readonly #listing: { name: string; size: number; sha256: string }[] = [];
  readonly #lines: string[] = [];
  readonly #problems: IntakeProblem[] = [];
  readonly #refused: string[] = [];
  readonly #left = {
    products: { count: 0, bytes: 0 },
    tree: { count: 0, bytes: 0 },
    links: { count: 0, bytes: 0 },
  };
  #seen = 0;
  #bytes = 0;
  #unpacked = 0;
  #nested = 0;

  constructor(options: CollectOptions) {
    this.#options = options;
  }

  async takeAll(entries: AsyncIterable<Entry>, prefix: string, depth: number): Promise<void> {
    for await (const entry of entries) {
      this.#options.signal.throwIfAborted();
      const plain = plainName(entry.raw);
      if ('refused' in plain) this.#refuse(`${prefix}${entry.raw}`, plain.refused);
      else if (plain.name !== '') await this.take(entry, prefix + plain.name, depth);
    }
  }

  /** `path`: where it lies on the host, when it does. */
  async take(entry: Entry, name: string, depth: number, path?: string): Promise<void> {
    if (isJunk(name)) return;
    if (entry.raw.endsWith('/') || isBuildProduct(name)) return this.#leave('products', name, entry.size);
    if (this.#options.isTreeFile(name)) return this.#leave('tree', name, entry.size);
    if (entry.kind === 'special') return this.#refuse(name, `is ${entry.what}, not a file`);
    if (entry.kind === 'link') {
      if (entry.what === '' || staysInside(name, entry.what)) return this.#leave('links', name, 0);
      return this.#refuse(name, `is a link to ${entry.what}, outside of the hand-in`);
    }
    await this.#read(entry, name, depth, path);
  }

  async #read(entry: Entry, name: string, depth: number, path: string | undefined): Promise<void> {
    this.#seen += 1;
    if (this.#seen > MOST_FILES) throw new Stop(tooMuch(`more than ${counted(MOST_FILES, 'file')}`));
    if (path !== undefined || ARCHIVE_NAME.test(name)) {
      if (path === undefined && entry.size > MOST_BYTES) throw new Stop(tooMuch(`the archive ${name}`));
      const head = path === undefined ? undefined : await entry.read(512);
      const data = head ?? (await entry.read(MOST_BYTES));
      if (archiveKind(name, data) !== undefined) return await this.#open(name, data, depth, path);
      if (head === undefined) return this.#keep(name, data, entry);
    }
    const data = await entry.read(MOST_PER_FILE);
    if (archiveKind(name, data) !== undefined && entry.size <= MOST_PER_FILE)
      return await this.#open(name, data, depth, path);
    const whole = data.length < MOST_PER_FILE && (entry.size === 0 || data.length === entry.size);
    if (whole && (!isBinary(data) || isDocument(data))) return this.#keep(name, data, entry);
    if (whole || isBinary(data)) return this.#leave('products', name, Math.max(entry.size, data.length));
    this.#problems.push(
      problem(
        `${name} has more than ${sizeInWords(MOST_PER_FILE)} and was not looked at`,
        'hand in a patch of your own changes only: leave out what a build makes',
      ),
    );
  }

  #keep(name: string, data: Buffer, { mtime }: Entry): void {
    this.#bytes += data.length;
    if (this.#bytes > MOST_BYTES) throw new Stop(tooMuch(`more than ${sizeInWords(MOST_BYTES)}`));
    const sha256 = createHash('sha256').update(data).digest('hex');
    this.#files.push({ name, data, sha256, mtime });
    this.#listing.push({ name, size: data.length, sha256 });
    this.#lines.push(`${name}\0${sha256}`);
  }

  async #open(name: string, data: Buffer, depth: number, path: string | undefined): Promise<void> {
    const kind = archiveKind(name, data);
    if (kind === 'foreign' || depth >= DEEPEST) {
      const what =
        kind === 'foreign' ? 'is an archive of a kind that is not opened' : 'lies too deep in archives';
      this.#problems.push(problem(`${name} ${what}`, 'hand in one zip or tar.gz archive'));
      return;
    }
    const file = path ?? (await this.#aside(data, name));
    const prefix = path === undefined ? `${name}/` : '';
    try {
      const entries = kind === 'zip' ? this.#zip(file) : this.#tar(file);
      await this.takeAll(entries, prefix, depth + 1);
    } catch (error) {
      if (error instanceof Stop || this.#options.signal.aborted || !isAboutArchive(error)) throw error;
      this.#problems.push(cannotOpen(name, error));
    }
  }

  async *#zip(file: string): AsyncGenerator<Entry> {
    for await (const entry of zipEntries(file)) {
      yield { ...entry, read: (limit) => this.#inflate(entry, limit) };
    }
  }

  async #inflate(entry: Entry, limit: number): Promise<Buffer> {
    if (entry.size > limit) throw new Stop(tooMuch(`${entry.raw} with ${sizeInWords(entry.size)}`));
    return await entry.read(limit);
  }

  async *#tar(file: string): AsyncGenerator<Entry> {
    const { size } = await fileEntry(file);
    const onBytes = (count: number) => {
      this.#options.signal.throwIfAborted();
      this.#unpacked += count;
      const bomb = this.#unpacked > MOST_BYTES && this.#unpacked > size * MOST_RATIO;
      if (bomb) throw new Stop(tooMuch(`an archive that grows more than ${MOST_RATIO} times`));
      if (this.#unpacked > MOST_UNPACKED) throw new Stop(tooMuch(`more than ${sizeInWords(MOST_UNPACKED)}`));
    };
    yield* tarEntries(file, this.#options.signal, onBytes);
  }

  async #aside(data: Buffer, name: string): Promise<string> {
    this.#nested += 1;
    const dir = join(this.#options.scratch, String(this.#nested));
    await mkdir(dir, { recursive: true });
    const file = join(dir, basename(name).replace(/[^\w.-]/g, '_'));
    await writeFile(file, data, { mode: 0o600 });
    return file;
  }

  #leave(why: 'products' | 'tree' | 'links', name: string, bytes: number): void {
    this.#left[why].count += 1;
    this.#left[why].bytes += bytes;
    this.#lines.push(`${name}\0${bytes}`);
  }

  #refuse(name: string, why: string): void {
    this.#refused.push(`${printable(name)} ${why}`);
    this.#lines.push(`${name}\0refused`);
  }

  /** After which nothing of what was read so far counts. */
  stop(why: IntakeProblem): void {
    this.#files.length = 0;
    this.#problems.push(why);
  }

  result(): Collected {
    const digest = createHash('sha256')
      .update([...this.#lines].sort().join('\n'))
      .digest('hex');
    const times = this.#files.flatMap(({ mtime }) => (mtime === undefined ? [] : [mtime.getTime()]));
    const newest = times.reduce((latest, time) => Math.max(latest, time), 0);
    return {
      files: this.#files,
      digest,
      changes: this.#changes(),
      problems: [...refusals(this.#refused), ...this.#problems],
      listing: this.#listing,
      ...(newest > 0 ? { newest: new Date(newest) } : {}),
    };
  }

  #changes(): string[] {
    const { products, tree, links } = this.#left;
    const changes: string[] = [];
    if (products.count > 0)
      changes.push(`left out ${counted(products.count, 'build product')}, ${sizeInWords(products.bytes)}`);
    if (tree.count > 0)
      changes.push(
        `left out ${counted(tree.count, 'file')} that belong to the source trees of QEMU or Linux, ${sizeInWords(tree.bytes)}`,
      );
    if (links.count > 0) changes.push(`left out ${counted(links.count, 'symbolic link')}`);
    return changes;
  }
}

const ARCHIVE_NAME = /\.(zip|tar|tgz|tbz2?|txz|gz|xz|bz2|rar|7z|zst|lz4)$/i;
const DOCUMENT_NAME = /\.(docx|odt|pptx|odp|xlsx|ods|jar|epub)$/i;

/** RAR, 7z, zstd, lz4. */
const FOREIGN = ['Rar!', '7z\xbc\xaf', '\x28\xb5\x2f\xfd', '\x04\x22\x4d\x18'];

function archiveKind(name: string, data: Buffer): 'zip' | 'tar' | 'foreign' | undefined {
  const magic = data.toString('latin1', 0, 6);
  if (magic.startsWith('PK\x03\x04') || magic.startsWith('PK\x05\x06'))
    return DOCUMENT_NAME.test(name) ? undefined : 'zip';
  if (magic.startsWith('\x1f\x8b') || magic === '\xfd7zXZ\0' || /^BZh[1-9]/.test(magic)) return 'tar';
  if (FOREIGN.some((start) => magic.startsWith(start))) return 'foreign';
  return isTar(data) ? 'tar' : undefined;
}

/** PDF, or one of the zip-based formats. */
function isDocument(data: Buffer): boolean {
  const magic = data.toString('latin1', 0, 4);
  return magic === '%PDF' || magic === 'PK\x03\x04';
}

function tooMuch(what: string): IntakeProblem {
  return problem(
    `the hand-in holds ${what}; nothing of it was graded`,
    'hand in patches of your own changes, without build products and without whole source trees',
  );
}

function cannotOpen(name: string, error: unknown): IntakeProblem {
  const evidence = error instanceof Error ? error.message.split('\n').slice(0, 3) : [];
  return problem(
    `the archive ${name} could not be read`,
    'make the archive again and unpack it once to check it',
    {
      evidence,
    },
  );
}

function refusals(refused: readonly string[]): IntakeProblem[] {
  if (refused.length === 0) return [];
  const many = counted(refused.length, 'entry', 'entries');
  return [
    problem(`${many} of the hand-in refused: no plain files within it`, 'hand in plain files only', {
      evidence: refused.slice(0, 10),
    }),
  ];
}

function printable(name: string): string {
  return name.replace(/[^\x20-\x7e\u00a0-\uffff]/g, '?').slice(0, 200);
}
