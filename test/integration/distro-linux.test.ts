import { execFileSync } from 'node:child_process';
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, type TestContext, test } from 'vitest';
import { type DistroPackages, distroLinux, fetchDistroLinux } from '../../src/build/distro-linux.js';
import { BOOT_MODULES, buildInitrd } from '../../src/build/initrd.js';
import type { Kernel } from '../../src/build/kernel.js';
import { modulesInOrder } from '../../src/build/kernel-modules.js';
import { buildModule } from '../../src/build/module.js';
import { systemQemu } from '../../src/build/system-qemu.js';
import { LabError } from '../../src/errors.js';
import { verifyArtifact } from '../../src/host/store.js';
import { buildSubmittedModule } from '../../src/sandbox/build-module.js';
import { requireSandbox } from '../../src/sandbox/probe.js';
import { scaled } from '../../src/timeouts.js';
import { quietStep } from '../support/quiet-step.js';
import { useTempFolder } from '../support/temp.js';

const temp = useTempFolder();
const context = { step: quietStep(), timeouts: scaled(4) };

/** Debian's kernel, as the host's own apt gets it; the tests are skipped where there is none. */
describe('Debian’s kernel', () => {
  let packages: DistroPackages | undefined;
  let kernel: Kernel;
  let missing = '';

  beforeAll(async () => {
    try {
      packages = await fetchDistroLinux({ refresh: false }, context);
    } catch (error) {
      if (!(error instanceof LabError) || !error.code.startsWith('sources/')) throw error;
      missing = error.message;
      return;
    }
    kernel = await distroLinux({ packages, modules: ['null_blk'] }, context);
  }, 300_000);

  function needsPackages(t: TestContext): DistroPackages {
    if (packages === undefined) return t.skip(`Debian’s archive cannot be used here: ${missing}`);
    return packages;
  }

  test('is found again without asking', async (t) => {
    const first = needsPackages(t);
    const again = await fetchDistroLinux({ refresh: false }, context);
    expect(first.fresh).toBe(true);
    expect(again).toEqual({ ...first, fresh: false });
    expect(again.origin).toMatch(/^linux-image-\d\S+-amd64 \d/);
  });

  test('is unpacked whole and read-only, and nothing of it points outside', async (t) => {
    needsPackages(t);
    expect(await verifyArtifact(kernel.dir)).toEqual([]);
    expect((await readFile(kernel.vmlinux)).toString('latin1', 0, 4)).toBe('\x7fELF');
    expect(await readFile(kernel.config, 'utf8')).toContain('CONFIG_EXT4_FS=');
    const links = execFileSync('find', [kernel.dir, '-type', 'l'], { encoding: 'utf8' });
    expect(links).toBe('');
  });

  test('has the modules of a boot and the lab’s, each after what it needs', async (t) => {
    needsPackages(t);
    const root = join(kernel.modules, 'lib/modules', kernel.release);
    const order = await modulesInOrder(root, [...BOOT_MODULES, 'null_blk']);
    for (const path of order) await access(join(root, path));
    const at = (name: string) => order.findIndex((path) => path.endsWith(`/${name}.ko`));
    expect(at('virtio')).toBeLessThan(at('virtio_blk'));
    expect(at('scsi_mod')).toBeLessThan(at('sd_mod'));
    expect(at('jbd2')).toBeLessThan(at('ext4'));
    expect(at('null_blk')).toBeGreaterThan(0);
  });

  test('gives an initial RAM disk that the tool cpio understands', async (t) => {
    needsPackages(t);
    const { path } = await buildInitrd({ kernel, topology: { disk: 'ide', nic: 'virtio' } }, context);
    const names = listCpio(await readFile(path), t);
    expect(names).toEqual(expect.arrayContaining(['init', 'dev/console', 'modules/list']));
    expect(names).toEqual(expect.arrayContaining(['modules/ata_piix.ko', 'modules/virtio_net.ko']));
    expect(names).not.toContain('modules/virtio_blk.ko');
  });

  test('has modules built against it, out here and in a jail', { timeout: 120_000 }, async (t) => {
    needsPackages(t);
    const dir = join(temp.path, 'module');
    await mkdir(dir, { recursive: true });
    await writeFile(join(dir, 'Makefile'), 'obj-m += tiny.o\n');
    await writeFile(
      join(dir, 'tiny.c'),
      '#include <linux/module.h>\n#include <linux/blkdev.h>\nMODULE_LICENSE("GPL");\n',
    );
    const { ko } = await buildModule({ linux: kernel, dir, name: 'tiny' }, context);
    expect((await readFile(ko)).toString('latin1')).toContain(`vermagic=${kernel.release} `);
    await requireSandbox({ signal: context.step.signal, timeouts: context.timeouts });
    const files = ['Makefile', 'tiny.c'];
    const { modules } = await buildSubmittedModule({ linux: kernel, dir, files }, context);
    expect(modules.map((path) => path.split('/').at(-1))).toEqual(['tiny.ko']);
    expect(await verifyArtifact(kernel.dir)).toEqual([]);
  });

  test('does without a module that it does not have', async (t) => {
    const request = { packages: needsPackages(t), modules: ['no_such_module'] };
    await expect(distroLinux(request, context)).rejects.toMatchObject({ code: 'build/no-kernel-module' });
  });
});

function listCpio(archive: Buffer, t: TestContext): string[] {
  try {
    return execFileSync('cpio', ['-it', '--quiet'], { input: archive, encoding: 'utf8' }).trim().split('\n');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return t.skip('this host has no cpio');
    throw error;
  }
}

describe('the QEMU of this host', () => {
  test('is found with its version and package, or said to be missing', async () => {
    const before = process.env.PATH;
    try {
      process.env.PATH = temp.path;
      await expect(systemQemu(context)).rejects.toMatchObject({ code: 'host/no-qemu', blame: 'host' });
      process.env.PATH = `${temp.path}:${before}`;
      await writeFile(join(temp.path, 'qemu-system-x86_64'), OLD, { mode: 0o755 });
      await writeFile(join(temp.path, 'qemu-img'), OLD, { mode: 0o755 });
      await expect(systemQemu(context)).rejects.toMatchObject({ code: 'host/old-qemu' });
      await writeFile(join(temp.path, 'qemu-system-x86_64'), OLD.replace('6.2.0', '9.1.0'));
      const found = await systemQemu(context);
      expect(found).toMatchObject({ version: '9.1.0', origin: join(temp.path, 'qemu-system-x86_64') });
      await writeFile(join(temp.path, 'qemu-system-x86_64'), OLD.replace('6.2.0', '9.10.0'));
      expect((await systemQemu(context)).digest).not.toBe(found.digest);
    } finally {
      process.env.PATH = before;
    }
  });
});

const OLD = '#!/bin/sh\necho QEMU emulator version 6.2.0\n';
