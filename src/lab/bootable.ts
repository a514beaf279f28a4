import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheRoot } from '../host/paths.js';
import type { QemuInstallation } from '../machine/spec.js';

/** A QEMU and a kernel that can be booted to see whether an accelerator works. */
export interface Bootable {
  readonly qemu: QemuInstallation;
  readonly kernel: string;
}

/** Keeps what was prepared last, for `lab doctor`. */
export async function rememberBootable({ qemu, kernel }: Bootable): Promise<void> {
  const { binary, version, dataDirs } = qemu;
  await mkdir(join(cacheRoot(), 'probes'), { recursive: true });
  await writeFile(file(), JSON.stringify({ qemu: { binary, version, dataDirs }, kernel }));
}

/** What was prepared last, if it is still in the cache. */
export async function latestBootable(): Promise<Bootable | undefined> {
  try {
    const bootable = JSON.parse(await readFile(file(), 'utf8')) as Bootable;
    await Promise.all([access(bootable.qemu.binary), access(bootable.kernel)]);
    return bootable;
  } catch {
    return undefined; // nothing was built yet, or it was pruned
  }
}

function file(): string {
  return join(cacheRoot(), 'probes', 'bootable.json');
}
