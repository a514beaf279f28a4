import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openSubmittedDevice } from '../../src/sandbox/device.js';
import { scaled } from '../../src/timeouts.js';
import { useTempFolder } from '../support/temp.js';

const temp = useTempFolder();
let count = 0;

/** A device with these members besides its size; `top` stands outside of it. */
async function opened(members: string, { top = '', patience = 20_000 } = {}) {
  const file = join(temp.path, `device${++count}.ts`);
  const text = `import { type BlockDevice, DeviceError, sparse } from 'lab/vblk';
${top}
export default class Device implements BlockDevice {
  blockSize() { return 512; }
  blocks() { return 2048; }
  ${members}
}
void [DeviceError, sparse];
`;
  await writeFile(file, text);
  return await openSubmittedDevice(file, { patience, timeouts: scaled(1) });
}

const block = () => Buffer.alloc(512);

describe('a device in the sandbox', () => {
  test('does all that a device does', async () => {
    await using submitted = await opened(`
      #disk = sparse(1 << 20);
      read(offset: number, buffer: Buffer) { return this.#disk.read(offset, buffer); }
      async write(offset: number, buffer: Buffer) { return this.#disk.write?.(offset, buffer); }
      flush() { console.log('flushed'); }
      trim(offset: number, length: number) { return this.#disk.trim?.(offset, length); }
      unmount() { throw new DeviceError('ENOSPC', 'no room to leave'); }`);
    const { device } = submitted;
    expect([device.blockSize(), device.blocks(), device.zero]).toEqual([512, 2048, undefined]);
    const data = randomBytes(300_000 - (300_000 % 512));
    await device.write?.(1024, data);
    const back = Buffer.alloc(data.length);
    await device.read(1024, back);
    expect(back.equals(data)).toBe(true);
    await device.trim?.(1024, 512);
    await device.read(1024, back.subarray(0, 512));
    expect(back.subarray(0, 512).equals(block())).toBe(true);
    await device.flush?.();
    await expect(Promise.resolve(device.unmount?.())).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(submitted.said()).toContain('flushed');
  });

  test('may be one of several of its file, with helpers beside it', async () => {
    const folder = join(temp.path, 'two devices');
    await mkdir(join(folder, 'util'), { recursive: true });
    await writeFile(
      join(folder, 'util/fill.ts'),
      'export const fill = (to: Buffer, byte: number) => to.fill(byte);',
    );
    const one = (name: string, byte: number) => `export class ${name} {
  blockSize() { return 512; }
  blocks() { return 8; }
  read(_: number, buffer: Buffer) { fill(buffer, ${byte}); }
}`;
    const file = join(folder, 'both disks.ts');
    await writeFile(
      file,
      `import { fill } from './util/fill.js';\n${one('First', 1)}\n${one('Second', 2)}\n`,
    );
    for (const [i, named] of ['first', 'sec.nd'].entries()) {
      const options = { patience: 20_000, timeouts: scaled(1), folder, named };
      await using submitted = await openSubmittedDevice(file, options);
      const seen = block();
      await submitted.device.read(0, seen);
      expect(seen.equals(Buffer.alloc(512, i + 1))).toBe(true);
      expect(submitted.lost()).toBeUndefined();
    }
  });

  test('sees nothing of the host', async () => {
    const secret = join(temp.path, 'secret');
    await writeFile(secret, 'secret');
    await using submitted = await opened(
      `read(_: number, buffer: Buffer) {
        const look = (name: string) => { try { return readFileSync(name, 'latin1').length; } catch { return 'none'; } };
        buffer.write(JSON.stringify([look('/etc/passwd'), look(${JSON.stringify(secret)}), Object.keys(process.env)]));
      }`,
      { top: "import { readFileSync } from 'node:fs';" },
    );
    const seen = block();
    await submitted.device.read(0, seen);
    const [users, own, environment] = JSON.parse(seen.toString().replace(/\0+$/, '')) as [
      unknown,
      unknown,
      string[],
    ];
    expect([users, own]).toEqual(['none', 'none']);
    expect(environment).not.toContain('USER');
  });

  test.each([
    ['never answers', 'async read() { await new Promise(() => {}); }', /did not answer within/],
    ['never ends', 'read() { for (;;); }', /did not answer within/],
    ['ends its process', 'read() { process.exit(0); }', /it has ended/],
    ['answers for itself', 'read() { writeSync(3, Buffer.alloc(24, 7)); }', /payload of|no answer/],
    ['answers with too much', 'read() { writeSync(3, answer(1, 4096)); }', /4096 bytes instead of 512/],
  ])('one that %s fails with EIO, also afterwards', async (_name, read, reason) => {
    const top = `import { writeSync } from 'node:fs';
      function answer(id: number, size: number) {
        const whole = Buffer.alloc(24 + size);
        whole.writeUInt32LE(id, 0);
        whole.writeUInt8(1, 4);
        whole.writeUInt32LE(size, 20);
        return whole;
      }
      void [writeSync, answer];`;
    await using submitted = await opened(read, { top, patience: 3000 });
    for (let i = 0; i < 2; i += 1) {
      const failed = Promise.resolve(submitted.device.read(0, block()));
      await expect(failed).rejects.toMatchObject({ code: 'EIO', message: expect.stringMatching(reason) });
    }
    expect(submitted.lost()?.late).toBe(/within/.test(reason.source));
  });

  test.each([
    ['imports a file of the host', "import '/etc/hostname';", /Could not resolve/],
    ['is not TypeScript', 'this is no (', /Expected/],
    ['throws', "throw new Error('not today');", /not today/],
  ])('one that %s is refused, with the reason', async (_name, top, reason) => {
    const failed = opened('read() {}', { top });
    await expect(failed).rejects.toMatchObject({ code: 'nbd/no-device', blame: 'submission' });
    const error = (await failed.catch((reasonOf: unknown) => reasonOf)) as { evidence: string[] };
    expect(error.evidence.join('\n')).toMatch(reason);
  });
});
