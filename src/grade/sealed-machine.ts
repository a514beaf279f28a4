import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Guest } from '../guest/guest.js';
import { loadOrMakeKeyPair } from '../guest/keys.js';
import { socketFolder } from '../host/paths.js';
import { createOverlay } from '../image/overlay.js';
import type { GuestImage } from '../image/resolve.js';
import { type Login, whenReady } from '../lab/connect.js';
import { clientKeys } from '../lab/keys.js';
import { fileNames } from '../machine/arguments.js';
import { launch } from '../machine/launch.js';
import type { Machine } from '../machine/machine.js';
import type { MachineSpec, Profile, QemuInstallation } from '../machine/spec.js';
import { orSetupFailed } from '../sandbox/jail.js';
import { openMachineJail } from '../sandbox/machine.js';
import type { Timeouts } from '../timeouts.js';

/** What a machine for grading is made of. */
export interface SealedBoot {
  readonly name: string;
  /** Folder for this machine alone: its disk, console, command and keys. Emptied by nobody. */
  readonly dir: string;
  readonly qemu: QemuInstallation;
  readonly kernel: string;
  readonly image: Pick<GuestImage, 'path'>;
  readonly qemuImg: string;
  readonly profile: Profile;
  /** `-device` arguments. */
  readonly devices: readonly string[];
  /** Features of the CPU turned off, by QEMU's names. */
  readonly withoutCpu?: readonly string[];
}

const MEMORY_MIB = 1024;

/**
 * Boots a machine in a jail, on a fresh overlay of the image, calls `use` when its guest answers over SSH, and ends
 * it whatever happens.
 *
 * Always emulated: every host then gives the same machine, and code that nobody trusts does not get at KVM.
 */
export async function withSealedMachine<T>(
  boot: SealedBoot,
  { timeouts, signal }: { readonly timeouts: Timeouts; readonly signal: AbortSignal },
  use: (machine: Machine, guest: Guest) => Promise<T>,
): Promise<T> {
  const { dir } = boot;
  await mkdir(dir, { recursive: true });
  const spec = await specOf(boot, { timeouts, signal });
  const console = join(dir, fileNames.console);
  await writeFile(console, '');
  // the jail has a user id of its own
  for (const path of [console, spec.disk]) await chmod(path, 0o666);
  await using jail = await openMachineJail({
    readOnly: [
      dirname(spec.qemu.binary),
      ...spec.qemu.dataDirs,
      spec.kernel,
      boot.image.path,
      ...Object.values(spec.firmwareFiles),
    ],
    writable: [spec.disk, console],
  });
  const files = { dir, sockets: await socketFolder(dir) };
  await using machine = await launch({ ...spec, sealed: jail.sealed }, files, { timeouts, signal }).catch(
    (error) => Promise.reject(orSetupFailed(error, jail)),
  );
  const patience = { ...timeouts, boot: timeouts.gradedBoot };
  await using guest = await whenReady(machine, await loginOf(boot, machine), patience, signal);
  return await use(machine, guest);
}

async function specOf(
  boot: SealedBoot,
  { timeouts, signal }: { readonly timeouts: Timeouts; readonly signal: AbortSignal },
): Promise<MachineSpec> {
  const { dir, name, qemu, kernel, profile, devices, withoutCpu = [] } = boot;
  const disk = join(dir, 'disk.qcow2');
  await createOverlay({
    base: boot.image.path,
    path: disk,
    qemuImg: boot.qemuImg,
    signal,
    timeout: timeouts.hostTool,
  });
  const host = await loadOrMakeKeyPair(dir, 'host_key');
  await chmod(host.path, 0o644); // the guest's kernel, which gets it, may be anybody's as well
  const authorized = join(dir, 'authorized_keys');
  await writeFile(authorized, `${(await clientKeys()).publicKey}\n`);
  return {
    ...{ name, profile, qemu, kernel, disk, devices, withoutCpu },
    accelerator: 'tcg',
    memoryMiB: MEMORY_MIB,
    net: { kind: 'user', sshPort: 0 },
    firmwareFiles: { authorized_keys: authorized, host_key: host.path },
  };
}

async function loginOf({ dir, name }: SealedBoot, machine: Machine): Promise<Login> {
  const [client, host] = await Promise.all([clientKeys(), loadOrMakeKeyPair(dir, 'host_key')]);
  return {
    host: name,
    port: 22,
    dial: () => machine.takeRelay() as ReturnType<NonNullable<Login['dial']>>,
    user: 'root',
    privateKey: client.privateKey,
    hostKey: host.publicKey,
  };
}
