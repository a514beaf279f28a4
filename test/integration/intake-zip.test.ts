import { execFileSync } from 'node:child_process';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { openZip } from '../../src/host/zip.js';
import { useTempFolder } from '../support/temp.js';

const folder = useTempFolder();
let plain: Buffer;

beforeAll(async () => {
  const dir = join(folder.path, 'in');
  await mkdir(join(dir, 'sub'), { recursive: true });
  await writeFile(join(dir, 'a.txt'), 'hello\n'.repeat(100));
  await writeFile(join(dir, 'sub/empty'), '');
  await symlink('a.txt', join(dir, 'link'));
  execFileSync('zip', ['-qry', '../plain.zip', '.'], { cwd: dir });
  plain = await readFile(join(folder.path, 'plain.zip'));
});

async function opened(bytes: Buffer): Promise<Record<string, string>> {
  const path = join(folder.path, 'x.zip');
  await writeFile(path, bytes);
  await using zip = await openZip(path);
  const read: Record<string, string> = {};
  for (const { path: name, kind, body } of zip.members) {
    read[name] = kind === 'file' ? (await body()).toString('latin1') : kind;
  }
  return read;
}

/** The archive with bytes put at the place where `entry`'s record in the list of contents has them. */
function patched(entry: string, at: number, value: Buffer): Buffer {
  const bytes = Buffer.from(plain);
  let record = bytes.indexOf('PK\x01\x02');
  while (bytes.toString('latin1', record + 46, record + 46 + bytes.readUInt16LE(record + 28)) !== entry)
    record = bytes.indexOf('PK\x01\x02', record + 4);
  value.copy(bytes, record + at);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

describe('zip archives', () => {
  test('are read; links are no files', async () => {
    expect(await opened(plain)).toEqual({
      'a.txt': 'hello\n'.repeat(100),
      link: 'other',
      'sub/': 'folder',
      'sub/empty': '',
    });
  });

  test('an archive with a comment, and one without entries', async () => {
    const comment = Buffer.from(plain);
    comment.writeUInt16LE(5, comment.length - 2);
    expect(Object.keys(await opened(Buffer.concat([comment, Buffer.from('hello')])))).toHaveLength(4);
    const end = Buffer.alloc(22);
    end.writeUInt32LE(0x06054b50);
    expect(await opened(end)).toEqual({});
  });

  test.each([
    ['encrypted', 8, Buffer.from([1]), 'zip/refused', /encrypted/],
    ['another compression', 10, Buffer.from([12]), 'zip/refused', /method 12/],
    ['more than 4 GiB', 24, u32(0xffffffff), 'zip/refused', /4 GiB/],
    ['less than it unpacks to', 24, u32(10), 'zip/refused', /unpacks to more than the 10 bytes/],
    ['more than it unpacks to', 24, u32(601), 'zip/damaged', /checksum/],
    ['another checksum', 16, u32(1), 'zip/damaged', /checksum/],
    ['another place', 42, u32(3), 'zip/refused', /overlap/],
  ])('an entry that claims %s', async (_, at, value, code, message) => {
    await expect(opened(patched('a.txt', at, value))).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });

  test('two entries for the same bytes', async () => {
    const target = plain.readUInt32LE(patchedAt('a.txt') + 42);
    await expect(opened(patched('link', 42, u32(target)))).rejects.toMatchObject({ code: 'zip/refused' });
  });

  test('the same name twice', async () => {
    const dir = join(folder.path, 'twice');
    await mkdir(dir);
    for (const name of ['x1', 'x2']) await writeFile(join(dir, name), name);
    execFileSync('zip', ['-qr', '../twice.zip', '.'], { cwd: dir });
    const bytes = (await readFile(join(folder.path, 'twice.zip'))).toString('latin1').replaceAll('x2', 'x1');
    await expect(opened(Buffer.from(bytes, 'latin1'))).rejects.toMatchObject({
      code: 'zip/refused',
      message: expect.stringMatching(/twice/),
    });
  });

  test('cut short anywhere, or changed anywhere, it is read as it was or refused', async () => {
    const whole = await opened(plain);
    const position = fc.nat(plain.length - 1);
    await fc.assert(
      fc.asyncProperty(position, fc.nat(255), fc.boolean(), async (at, byte, cut) => {
        const bytes = cut ? plain.subarray(0, at) : Buffer.from(plain);
        if (!cut) bytes[at] = byte;
        const result = await opened(bytes).catch((error) => error.code as string);
        if (typeof result === 'string') return /^zip\/(damaged|refused)$/.test(result);
        return (
          !cut &&
          Object.values(result).every((text) => Object.values(whole).includes(text) || KINDS.includes(text))
        );
      }),
      { numRuns: 300 },
    );
  });
});

const KINDS = ['file', 'folder', 'other', 'a.txt'];

function patchedAt(entry: string): number {
  return plain.indexOf(entry, plain.indexOf('PK\x01\x02')) - 46;
}
