import { createHash, randomBytes } from 'node:crypto';
import { accessSync } from 'node:fs';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run } from '../../src/host/run.js';
import type { BlockDevice } from '../../src/nbd/device.js';
import { faulty, parseFaultScript } from '../../src/nbd/devices/faulty.js';
import { fromFile } from '../../src/nbd/devices/file.js';
import { logged, overlay } from '../../src/nbd/devices/layers.js';
import { sparse } from '../../src/nbd/devices/memory.js';
import { type NbdServer, serve } from '../../src/nbd/server.js';
import { useTempFolder } from '../support/temp.js';

/** Clients that nobody here wrote: they know the protocol by its specification only. */
const temp = useTempFolder();
const SIZE = 24 << 20;
let count = 0;

function has(program: string): boolean {
  const folders = (process.env.PATH ?? '').split(delimiter);
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program));
      return true;
    } catch {
      return false;
    }
  });
}

async function serving(devices: Parameters<typeof serve>[0], tcp = false): Promise<NbdServer> {
  const path = join(temp.path, `socket${++count}`);
  return await serve(devices, {
    address: tcp ? { kind: 'tcp', host: '127.0.0.1', port: 0 } : { kind: 'unix', path },
  });
}

async function client(program: string, args: readonly string[], accept = [0]) {
  const { signal } = new AbortController();
  // nbdsh takes the first Python that it finds, which may be one without Debian's modules
  const env = { PATH: '/usr/bin:/bin:/usr/sbin:/sbin' };
  return await run(program, args, { signal, timeout: 60_000, accept, env });
}

const sum = (data: Buffer) => createHash('sha256').update(data).digest('hex');

async function pattern(name: string): Promise<{ path: string; data: Buffer }> {
  const path = join(temp.path, name);
  const data = Buffer.concat([randomBytes(SIZE / 3), Buffer.alloc(SIZE / 3), randomBytes(SIZE / 3)]);
  await writeFile(path, data);
  return { path, data };
}

async function contents(device: BlockDevice): Promise<Buffer> {
  const all = Buffer.alloc(device.blocks() * device.blockSize());
  await device.read(0, all);
  return all;
}

describe.skipIf(!has('nbdinfo'))('libnbd', () => {
  test('nbdinfo reads what is served, by name', async () => {
    const rom = { blockSize: () => 1024, blocks: () => 4096, read: () => {} };
    await using server = await serving({ disk: sparse(SIZE), rom });
    const { stdout } = await client('nbdinfo', ['--json', '--list', server.uri('')]);
    const { exports, protocol } = JSON.parse(stdout);
    expect(protocol).toBe('newstyle-fixed');
    expect(exports).toMatchObject([
      {
        'export-name': 'disk',
        'export-size': SIZE,
        is_read_only: false,
        can_flush: true,
        can_trim: true,
        can_zero: true,
      },
      {
        'export-name': 'rom',
        'export-size': 4 << 20,
        is_read_only: true,
        can_flush: false,
        can_multi_conn: true,
      },
    ]);
    expect(exports[0].contexts).toEqual(['base:allocation']);
  });

  test('nbdinfo --map sees holes and data', async () => {
    const device = sparse(SIZE);
    await device.write?.(1 << 20, Buffer.alloc(1 << 20, 1));
    await using server = await serving(device);
    const map = JSON.parse((await client('nbdinfo', ['--json', '--map', server.uri()])).stdout);
    expect(map.map(({ offset, length, type }: Record<string, number>) => [offset, length, type])).toEqual([
      [0, 1 << 20, 3],
      [1 << 20, 1 << 20, 0],
      [2 << 20, SIZE - (2 << 20), 3],
    ]);
  });

  test.each([false, true])('nbdcopy copies there and back, by several connections (TCP: %s)', async (tcp) => {
    const { path, data } = await pattern('copied');
    const device = sparse(SIZE);
    await using server = await serving(device, tcp);
    await client('nbdcopy', ['--flush', path, server.uri()]);
    expect(sum(await contents(device))).toBe(sum(data));
    const back = join(temp.path, 'back');
    await client('nbdcopy', [server.uri(), back]);
    expect(sum(await readFile(back))).toBe(sum(data));
  });

  test.skipIf(!has('nbdsh'))('nbdsh: parts of blocks, many requests at once, errors', async () => {
    const device = sparse(SIZE, 4096);
    await using server = await serving(faulty(device, parseFaultScript('error ENOSPC block 9 write')));
    const script = [
      'import errno',
      'h.pwrite(b"x" * 100, 4090)',
      'assert h.pread(102, 4089) == b"\\0" + b"x" * 100 + b"\\0"',
      'h.pwrite(b"y" * 4096, 8192, nbd.CMD_FLAG_FUA)',
      'buffers = [nbd.Buffer.from_bytearray(bytearray([i]) * 512) for i in range(64)]',
      'cookies = [h.aio_pwrite(buffers[i], 65536 + 512 * i) for i in range(64)]',
      'for c in cookies:',
      '    while not h.aio_command_completed(c): h.poll(-1)',
      'h.flush()',
      'data = h.pread(64 * 512, 65536)',
      'assert all(data[512 * i : 512 * i + 512] == bytes([i]) * 512 for i in range(64))',
      'try:',
      '    h.pwrite(b"z" * 512, 9 * 4096)',
      '    assert False',
      'except nbd.Error as e:',
      '    assert e.errnum == errno.ENOSPC, e',
      'h.shutdown()',
      'print("all is well")',
    ];
    const { stdout } = await client('nbdsh', ['-u', server.uri(), '-c', script.join('\n')]);
    expect(stdout).toContain('all is well');
  });
});

describe.skipIf(!has('qemu-img'))("QEMU's tools", () => {
  test('qemu-img convert, compare and check agree with what was written', async () => {
    const { path, data } = await pattern('image');
    const file = join(temp.path, 'served');
    await writeFile(file, '');
    await truncate(file, SIZE);
    await using device = await fromFile(file);
    await using server = await serving(device);
    await client('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', path, server.uri()]);
    expect(sum(await readFile(file))).toBe(sum(data));
    await client('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', path, server.uri()]);
    const qcow = sparse(SIZE + (4 << 20));
    await using second = await serving(qcow);
    await client('qemu-img', ['create', '-q', '-f', 'qcow2', second.uri(), `${SIZE}`]);
    await client('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'qcow2', path, second.uri()]);
    await client('qemu-img', ['check', '-q', '-f', 'qcow2', second.uri()]);
    await client('qemu-img', ['compare', '-q', '-f', 'raw', '-F', 'qcow2', path, second.uri()]);
  });

  test('qemu-img bench reads and writes, many requests at a time', async () => {
    const kinds = new Map<string, number>();
    const device = logged(sparse(SIZE), ({ kind }) => void kinds.set(kind, (kinds.get(kind) ?? 0) + 1));
    await using server = await serving(device);
    const size = ['-c', '2000', '-d', '16', '-s', '4096', '-f', 'raw'];
    await client('qemu-img', ['bench', ...size, server.uri()]);
    await client('qemu-img', ['bench', ...size, '-w', '--flush-interval=100', server.uri()]);
    expect(kinds.get('read')).toBeGreaterThanOrEqual(2000);
    expect(kinds.get('write')).toBe(2000);
    expect(kinds.get('flush')).toBeGreaterThanOrEqual(20);
  });

  test('qemu-io verifies patterns, zeros and discards, and sees an error where it was put', async () => {
    const base = sparse(SIZE);
    await base.write?.(0, Buffer.alloc(1 << 20, 0x11));
    await using server = await serving(faulty(overlay(base), parseFaultScript('error EIO block 4096 read')));
    const io = async (...commands: string[]) =>
      (
        await client(
          'qemu-io',
          ['-f', 'raw', ...commands.flatMap((line) => ['-c', line]), server.uri()],
          [0, 1],
        )
      ).stdout;
    const good = await io(
      ...['read -P 0x11 0 1M', 'write -P 0x22 512 1024', 'read -P 0x11 0 512', 'read -P 0x22 512 1024'],
      ...['write -z 4k 8k', 'read -P 0 4k 8k', 'write -f -P 0x33 100k 3k', 'read -P 0x33 100k 3k'],
      ...['aio_write -P 0x44 1M 1M', 'aio_write -P 0x55 4M 1M', 'aio_flush', 'read -P 0x55 4M 1M'],
    );
    expect(good).not.toMatch(/fail|error|verification/i);
    expect(good.match(/read \d+\/\d+ bytes/g)?.length).toBe(6);
    expect(await io('read 2M 512')).toMatch(/read failed: Input\/output error/);
    expect(await io('read 2097664 512')).toMatch(/read 512\/512/);
    expect((await contents(base)).subarray(0, 1 << 20).every((byte) => byte === 0x11)).toBe(true);
  });
});
