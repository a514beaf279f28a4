import { type FileHandle, open } from 'node:fs/promises';
import { LabError } from '../../errors.js';
import type { BlockDevice } from '../device.js';

/**
 * A file as a device, of the file's own size. Whoever opened it disposes of it.
 *
 * @param options `readOnly`: it is not written to. `blockSize`: default 512.
 * @throws LabError `nbd/file`.
 */
export async function fromFile(
  path: string,
  { readOnly = false, blockSize = 512 }: { readonly readOnly?: boolean; readonly blockSize?: number } = {},
): Promise<BlockDevice & AsyncDisposable> {
  const file = await open(path, readOnly ? 'r' : 'r+').catch((cause: Error) =>
    Promise.reject(bad(path, cause.message, cause)),
  );
  const { size } = await file.stat();
  if (size % blockSize !== 0) {
    await file.close();
    throw bad(path, `its ${size} bytes are no whole number of blocks of ${blockSize}`);
  }
  return {
    blockSize: () => blockSize,
    blocks: () => size / blockSize,
    read: (offset, buffer) => readAll(file, offset, buffer),
    ...(readOnly
      ? {}
      : {
          write: (offset: number, buffer: Buffer) => writeAll(file, offset, buffer),
          flush: () => file.datasync(),
        }),
    [Symbol.asyncDispose]: () => file.close(),
  };
}

async function readAll(file: FileHandle, offset: number, buffer: Buffer): Promise<void> {
  for (let at = 0; at < buffer.length; ) {
    const { bytesRead } = await file.read(buffer, at, buffer.length - at, offset + at);
    if (bytesRead === 0) throw new Error('the file has become shorter');
    at += bytesRead;
  }
}

async function writeAll(file: FileHandle, offset: number, buffer: Buffer): Promise<void> {
  for (let at = 0; at < buffer.length; )
    at += (await file.write(buffer, at, buffer.length - at, offset + at)).bytesWritten;
}

function bad(path: string, why: string, cause?: unknown): LabError {
  return new LabError({
    code: 'nbd/file',
    blame: 'user',
    fact: `${path} cannot be served as a block device`,
    evidence: [why],
    next: 'name a file that can be read and written and whose size is a multiple of the block size',
    cause,
  });
}
