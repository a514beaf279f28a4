import { readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { packageRoot } from '../host/paths.js';
import { getOrMake } from '../host/store.js';
import type { Topology } from '../machine/spec.js';
import { type CpioEntry, cpio } from './cpio.js';
import type { Kernel } from './kernel.js';
import { modulesInOrder } from './kernel-modules.js';
import { buildProgram } from './programs.js';
import type { BuildContext } from './worktree.js';

/** What a machine's root device, network and keys need of a kernel that has them as modules. */
const MODULES_FOR = {
  /** The file system (and the checksum that it asks for by name), SSH keys by fw_cfg, keyboard and power button. */
  all: ['crc32c_generic', 'ext4', 'qemu_fw_cfg', 'evdev', 'button'],
  disk: { ide: ['ata_piix', 'sd_mod'], virtio: ['virtio_pci', 'virtio_blk'] },
  nic: { e1000: ['e1000'], virtio: ['virtio_pci', 'virtio_net'] },
} as const;

/** Modules that the machine profiles need between them. */
export const BOOT_MODULES: readonly string[] = [
  ...MODULES_FOR.all,
  ...Object.values(MODULES_FOR.disk).flat(),
  ...Object.values(MODULES_FOR.nic).flat(),
].filter((name, i, all) => all.indexOf(name) === i);

/** The modules for one machine, what they depend on not included. */
export function bootModules({ disk, nic }: Pick<Topology, 'disk' | 'nic'>): string[] {
  return [...MODULES_FOR.disk[disk], ...MODULES_FOR.nic[nic], ...MODULES_FOR.all];
}

export interface InitrdRequest {
  readonly kernel: Pick<Kernel, 'modules' | 'release' | 'digest'>;
  readonly topology: Pick<Topology, 'disk' | 'nic'>;
}

export interface Initrd {
  /** A cpio archive for `-initrd`; not compressed, since unpacking costs an emulated machine more than copying. */
  readonly path: string;
  readonly digest: string;
  readonly fresh: boolean;
}

/**
 * The initial RAM disk with which a modular kernel finds its root device: the modules in the order of their
 * dependencies and one static program, `vm/initrd/init.c`.
 *
 * @throws LabError `build/no-kernel-module`, `build/compile`.
 */
export async function buildInitrd(
  { kernel, topology }: InitrdRequest,
  context: BuildContext,
): Promise<Initrd> {
  const source = join(packageRoot, 'vm/initrd/init.c');
  const init = await buildProgram({ name: 'init', sources: [source], blame: 'host' }, context);
  const wanted = bootModules(topology);
  const artifact = await getOrMake({
    kind: 'initrd',
    inputs: { recipe: RECIPE, kernel: kernel.digest, init: init.digest, wanted },
    signal: context.step.signal,
    make: async (dir) => {
      const root = join(kernel.modules, 'lib/modules', kernel.release);
      const modules = await modulesInOrder(root, wanted);
      const entries = await contents(
        init.binary,
        modules.map((path) => join(root, path)),
      );
      await writeFile(join(dir, FILE), cpio(entries));
    },
  });
  return { path: join(artifact.dir, FILE), digest: artifact.digest, fresh: artifact.fresh };
}

const RECIPE = 1;
const FILE = 'initrd.cpio';

async function contents(init: string, modules: readonly string[]): Promise<CpioEntry[]> {
  const folder = (path: string): CpioEntry => ({ path, mode: 0o755, content: 'folder' });
  const file = async (path: string, from: string, mode: number): Promise<CpioEntry> => ({
    path,
    mode,
    content: { data: await readFile(from) },
  });
  const list = modules.map((path) => `${basename(path)}\n`).join('');
  return [
    ...['dev', 'proc', 'sysroot', 'modules'].map(folder),
    // the kernel opens it for init before anything mounts /dev
    { path: 'dev/console', mode: 0o600, content: { device: [5, 1] } },
    await file('init', init, 0o755),
    { path: 'modules/list', mode: 0o644, content: { data: Buffer.from(list) } },
    ...(await Promise.all(modules.map((path) => file(`modules/${basename(path)}`, path, 0o644)))),
  ];
}
