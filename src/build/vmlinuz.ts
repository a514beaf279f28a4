import { copyFile, readFile, rm, writeFile } from 'node:fs/promises';
import { run } from '../host/run.js';

/**
 * Writes the ELF kernel inside a bzImage to `to`: QEMU starts it directly, where a guest would take seconds to unpack
 * it under emulation. A bzImage with a compression that is not known here is copied as it is; QEMU starts that too.
 */
export async function unpackVmlinuz(
  from: string,
  to: string,
  options: { readonly log: string; readonly signal: AbortSignal; readonly timeout: number },
): Promise<void> {
  const payload = payloadOf(await readFile(from));
  const format = FORMATS.find(({ magic }) => payload.subarray(0, magic.length).equals(Buffer.from(magic)));
  if (format === undefined) return await copyFile(from, to);
  const packed = `${to}${format.ending}`;
  await writeFile(packed, payload);
  await run(format.program, ['-d', '-q', packed], options);
  await rm(packed, { force: true });
}

/** First bytes of a payload, the ending that the program wants, and the program that reads it. */
const FORMATS = [
  { magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], ending: '.xz', program: 'xz' },
  { magic: [0x28, 0xb5, 0x2f, 0xfd], ending: '.zst', program: 'zstd' },
] as const;

/**
 * The compressed kernel in a bzImage, by the fields `setup_sects`, `payload_offset` and `payload_length` of its header
 * (Linux, Documentation/arch/x86/boot.rst), without the size that kbuild appends; empty when it is no bzImage.
 */
export function payloadOf(image: Buffer): Buffer {
  if (image.length < 0x250 || image.toString('latin1', 0x202, 0x206) !== 'HdrS') return Buffer.alloc(0);
  const setup = ((image[0x1f1] || 4) + 1) * 512;
  const start = setup + image.readUInt32LE(0x248);
  return image.subarray(start, start + image.readUInt32LE(0x24c) - 4);
}
