import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { kernelModuleFiles, modulesInOrder } from '../../src/build/kernel-modules.js';
import { useTempFolder } from '../support/temp.js';

const temp = useTempFolder();
const release = '6.12.0-test';
const tree = () => join(temp.path, 'lib/modules', release);

/** What the linker leaves of a module, as far as it matters here. */
async function module(path: string, depends: string): Promise<void> {
  const file = join(tree(), 'kernel', path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, Buffer.from(`\x7fELF\xff\0license=GPL\0depends=${depends}\0name=x\0`, 'latin1'));
}

describe('the files of kernel modules', () => {
  beforeEach(async () => {
    await module('drivers/block/brd.ko', '');
    await module('drivers/block/null_blk/null_blk.ko', 'configfs,t10-pi');
    await module('fs/configfs/configfs.ko', '');
    await module('block/t10-pi.ko', 'crc_t10dif');
    await writeFile(join(tree(), 'modules.builtin'), 'kernel/lib/crc-t10dif.ko\n');
    await writeFile(join(tree(), 'modules.order'), 'kernel/drivers/block/brd.ko\n');
    await writeFile(join(tree(), 'modules.dep'), '');
  });
  const files = async (...names: string[]) =>
    (await kernelModuleFiles({ modules: temp.path, release }, names)).map(({ to }) =>
      to.replace(`/lib/modules/${release}/`, ''),
    );

  test('are the module and the lists that depmod reads', async () => {
    expect(await files('brd')).toEqual(['modules.builtin', 'modules.order', 'kernel/drivers/block/brd.ko']);
  });

  test('include what a module depends on, whichever way its name is written', async () => {
    const found = await files('null-blk', 'brd');
    expect(found.slice(2)).toEqual([
      'kernel/block/t10-pi.ko',
      'kernel/drivers/block/brd.ko',
      'kernel/drivers/block/null_blk/null_blk.ko',
      'kernel/fs/configfs/configfs.ko',
    ]);
  });

  test('are none for what is built in', async () => {
    expect(await files('crc_t10dif')).toEqual(['modules.builtin', 'modules.order']);
  });

  test('are refused for a module that this kernel does not have, with those that it has', async () => {
    await expect(files('brb')).rejects.toMatchObject({
      code: 'build/no-kernel-module',
      evidence: ['its modules: brd, configfs, null_blk, t10_pi'],
    });
  });
});

describe('the order of modules', () => {
  test('puts each after what it depends on, once', async () => {
    await module('a.ko', 'b,c');
    await module('b.ko', 'c,crc-t10dif');
    await module('c.ko', '');
    expect(await modulesInOrder(tree(), ['b', 'a'])).toEqual(['kernel/c.ko', 'kernel/b.ko', 'kernel/a.ko']);
  });

  test('unpacks a compressed module before it is read', async () => {
    await module('packed.ko', 'c');
    const plain = join(tree(), 'kernel/packed.ko');
    await rename(plain, join(temp.path, 'packed.ko'));
    await writeFile(`${plain}.xz`, 'compressed');
    const unpack = async (path: string) => {
      expect(path).toBe(`${plain}.xz`);
      await rename(join(temp.path, 'packed.ko'), plain);
    };
    expect(await modulesInOrder(tree(), ['packed'], unpack)).toEqual(['kernel/c.ko', 'kernel/packed.ko']);
  });
});
