import { constants, deflateRawSync } from 'node:zlib';
import type { Entry } from './fixture-entry.js';
import type { ExtraFile } from './fixture-schema.js';

/** A file of a hand-in that comes from no source tree. */
export function extraEntry(file: ExtraFile, source: (name: string) => string): Entry {
  const { path } = file;
  if ('link' in file) return { path, data: Buffer.alloc(0), link: file.link };
  if ('bomb' in file) return { path, data: deflatedZeros(file.bomb), deflated: { claims: 4096 } };
  if ('filler' in file) return { path, data: filler(file.filler) };
  if ('hunks' in file) return { path, data: Buffer.from(manyHunks(file.hunks)) };
  return { path, data: Buffer.from('text' in file ? file.text : source(file.source)) };
}

/** Bytes that start like an object file and do not compress, the same each time. */
export function filler(size: number): Buffer {
  const data = Buffer.alloc(size);
  let state = 0x9e3779b9;
  for (let i = 0; i < size; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    data[i] = state;
  }
  data.write('\x7fELF\x02\x01\x01', 'latin1');
  return data;
}

/** A raw deflate stream of `size` zeros: one block of many, repeated, since none refers to those before it. */
function deflatedZeros(size: number): Buffer {
  const chunk = 64 * 1024 * 1024;
  const block = deflateRawSync(Buffer.alloc(chunk), { level: 9, finishFlush: constants.Z_FULL_FLUSH });
  const end = deflateRawSync(Buffer.alloc(0));
  return Buffer.concat([...Array.from({ length: Math.ceil(size / chunk) }, () => block), end]);
}

function manyHunks(count: number): string {
  const hunks = Array.from({ length: count }, (_, i) => `@@ -${2 * i + 1},0 +${3 * i + 2} @@\n+x\n`);
  return `diff --git a/drivers/misc/my-rng.c b/drivers/misc/my-rng.c\n--- a/drivers/misc/my-rng.c\n+++ b/drivers/misc/my-rng.c\n${hunks.join('')}`;
}
