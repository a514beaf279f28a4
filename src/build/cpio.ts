/** One file, folder or character device of an archive. */
export interface CpioEntry {
  /** Without a leading slash; folders come before what is in them. */
  readonly path: string;
  readonly mode: number;
  readonly content: { readonly data: Uint8Array } | 'folder' | { readonly device: readonly [number, number] };
}

/** A cpio archive in the format `newc`, as the kernel reads it (Linux, driver-api/early-userspace/buffer-format.rst). */
export function cpio(entries: readonly CpioEntry[]): Buffer {
  const records = entries.flatMap((entry, i) => record(entry, i + 1));
  return Buffer.concat([
    ...records,
    ...record({ path: 'TRAILER!!!', mode: 0, content: { data: NOTHING } }, 0),
  ]);
}

const NOTHING = new Uint8Array();
const TYPES = { file: 0o100000, folder: 0o040000, device: 0o020000 } as const;

function record({ path, mode, content }: CpioEntry, inode: number): Uint8Array[] {
  const type = content === 'folder' ? 'folder' : 'data' in content ? 'file' : 'device';
  const data = content !== 'folder' && 'data' in content ? content.data : NOTHING;
  const [major, minor] = content !== 'folder' && 'device' in content ? content.device : [0, 0];
  const name = Buffer.from(`${path}\0`);
  const fields = [
    ...[inode, mode === 0 ? 0 : TYPES[type] | mode, 0, 0, 1, 0, data.length],
    ...[0, 0, major, minor, name.length, 0],
  ];
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
  return [header, name, padding(header.length + name.length), data, padding(data.length)];
}

function padding(length: number): Uint8Array {
  return new Uint8Array((4 - (length % 4)) % 4);
}
