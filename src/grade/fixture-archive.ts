import { crc32, deflateRawSync } from 'node:zlib';
import type { Entry } from './fixture-entry.js';

const BLOCK = 512;

/** A tar archive of the entries, names as they are: the library's own writer would refuse hostile ones. */
export function tarOf(entries: readonly Entry[], time: Date): Buffer {
  const parts = entries.flatMap((entry) => {
    const padding = (BLOCK - (entry.data.length % BLOCK)) % BLOCK;
    return [tarHeader(entry, time), entry.data, Buffer.alloc(padding)];
  });
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]);
}

function tarHeader({ path, data, link }: Entry, time: Date): Buffer {
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, digits: number) =>
    header.write(`${value.toString(8).padStart(digits, '0')}\0`, at, 'latin1');
  header.write(path, 0, 100);
  octal(0o644, 100, 7);
  octal(1000, 108, 7);
  octal(1000, 116, 7);
  octal(data.length, 124, 11);
  octal(time.getTime() / 1000, 136, 11);
  header.fill(' ', 148, 156);
  header.write(link === undefined ? '0' : '2', 156);
  header.write(link ?? '', 157, 100);
  header.write('ustar\x0000', 257, 'latin1');
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    6,
  );
  return header;
}

/** A zip archive of the entries; symbolic links are marked the way Info-ZIP does. */
export function zipOf(entries: readonly Entry[], time: Date): Buffer {
  const files: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const entry of entries) {
    const name = Buffer.from(entry.path);
    const bytes = entry.link === undefined ? entry.data : Buffer.from(entry.link);
    const data = entry.deflated === undefined ? deflateRawSync(bytes) : bytes;
    const fields = zipFields(name, data, {
      crc: crc32(bytes),
      size: entry.deflated?.claims ?? bytes.length,
      time,
    });
    files.push(u32(0x04034b50), fields, name, data);
    const mode = entry.link === undefined ? 0o100644 : 0o120777;
    directory.push(
      u32(0x02014b50),
      u16(0x0314),
      fields,
      u16(0),
      u16(0),
      u16(0),
      u32((mode << 16) >>> 0),
      u32(offset),
      name,
    );
    offset += 4 + fields.length + name.length + data.length;
  }
  const index = Buffer.concat(directory);
  const count = u16(entries.length);
  return Buffer.concat([
    ...files,
    index,
    u32(0x06054b50),
    u32(0),
    count,
    count,
    u32(index.length),
    u32(offset),
    u16(0),
  ]);
}

/** What a file's own header and its entry in the directory share: from the version needed to the extra field's length. */
function zipFields(name: Buffer, data: Buffer, of: { crc: number; size: number; time: Date }): Buffer {
  const { time } = of;
  const date = ((time.getUTCFullYear() - 1980) << 9) | ((time.getUTCMonth() + 1) << 5) | time.getUTCDate();
  const clock = (time.getUTCHours() << 11) | (time.getUTCMinutes() << 5) | (time.getUTCSeconds() >> 1);
  const sizes = [u32(of.crc), u32(data.length), u32(of.size)];
  return Buffer.concat([
    u16(20),
    u16(0x0800),
    u16(8),
    u16(clock),
    u16(date),
    ...sizes,
    u16(name.length),
    u16(0),
  ]);
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}
