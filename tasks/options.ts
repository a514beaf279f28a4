import { join } from 'node:path';
import { Argument, type Command, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import { LabError } from '../src/errors.js';
import { nearest } from '../src/host/nearest.js';
import { packageRoot } from '../src/host/paths.js';
import type { UpOptions } from '../src/lab/bring-up.js';
import { type Lab, labOf } from '../src/lab/lab.js';
import type { PrepareOptions } from '../src/lab/prepare.js';
import { labNames } from '../src/lab/registry.js';
import { type Network, OUR_TAP } from '../src/machine/network.js';
import { loadProfile, profileNames } from '../src/machine/profiles.js';
import type { Profile } from '../src/machine/spec.js';

/** The lab that is meant when none is named. */
export const DEFAULT_LAB = 'my-rng';

/** Options that choose source trees and the guest. */
export interface TreeFlags {
  readonly qemu?: string | undefined;
  readonly qemuVersion?: string | undefined;
  readonly linux?: string | undefined;
  readonly linuxVersion?: string | undefined;
  readonly kernelConfig: 'lab' | 'defconfig';
  readonly guest: 'auto' | 'alpine' | 'debian';
  readonly alpineMirror: string[];
  readonly sourceMirror: string[];
  readonly refresh?: true | undefined;
}

/** Options of every command that may build and start a machine. */
export interface UpFlags extends TreeFlags {
  readonly name?: string | undefined;
  readonly profile?: string | undefined;
  readonly kernel: PrepareOptions['kernel'];
  readonly variant?: string | undefined;
  readonly work?: string | undefined;
  readonly accel: 'auto' | 'kvm' | 'tcg';
  readonly net: 'user' | 'tap';
  readonly tapDevice?: string | undefined;
  readonly port?: number | undefined;
  readonly memory: number;
  readonly fresh?: true | undefined;
  readonly qemuPatch: string[];
  readonly linuxPatch: string[];
  readonly yes?: true | undefined;
  readonly timing?: true | undefined;
}

/** Adds what decides which sources are used and what is built from them. */
export function addSourceOptions(command: Command): Command {
  return addTreeOptions(command)
    .addOption(
      new Option(
        '--kernel <kernel>',
        "built: from source; distro: Debian's own, without any building (nothing may change it)",
      )
        .choices(['built', 'distro'] as const)
        .default('built' as const),
    )
    .addOption(new Option('--variant <name>', "which of the lab's variants (default: its first)"))
    .option(
      '--work <folder>',
      "a folder that `lab work` made: what is in it takes the place of the lab's own",
    )
    .option(
      '--qemu-patch <file>',
      "apply this to QEMU instead of the lab's device (repeatable)",
      many,
      [] as string[],
    )
    .option(
      '--linux-patch <file>',
      "apply this to Linux instead of the lab's driver (repeatable)",
      many,
      [] as string[],
    ) as unknown as Command;
}

const many = (value: string, before: string[]) => [...before, value];

/** Adds what decides which source trees and which guest are used. */
export function addTreeOptions(command: Command): Command {
  return addReleaseOptions(command)
    .addOption(
      new Option('--kernel-config <config>', 'lab: small and quick; defconfig: x86_64_defconfig')
        .choices(['lab', 'defconfig'] as const)
        .default('lab' as const),
    )
    .addOption(
      new Option('--guest <distribution>', 'auto: Alpine where a mirror answers, else Debian')
        .choices(['auto', 'alpine', 'debian'] as const)
        .default('auto' as const),
    )
    .option(
      '--alpine-mirror <url>',
      'try this Alpine mirror first (repeatable)',
      many,
      [] as string[],
    ) as unknown as Command;
}

/** Adds what decides which source trees are used. */
export function addReleaseOptions(command: Command): Command {
  return command
    .option('--qemu <path>', 'build QEMU from this tree or tarball')
    .option('--qemu-version <version>', 'QEMU release (default: the one the exercise names)')
    .option('--linux <path>', 'build Linux from this tree or tarball')
    .option('--linux-version <version>', 'Linux release (default: the one the exercise names)')
    .option('--source-mirror <url>', 'also look for release tarballs here (repeatable)', many, [] as string[])
    .option(
      '--refresh',
      'ask upstream and mirrors again even if they did not answer lately',
    ) as unknown as Command;
}

/** What the commands have that neither build a kernel nor start a guest. */
export const NO_GUEST = { kernelConfig: 'lab', guest: 'auto', alpineMirror: [] as string[] } as const;

/** Options of a command that needs QEMU alone. */
export interface QemuFlags extends Pick<TreeFlags, 'qemu' | 'qemuVersion' | 'sourceMirror' | 'refresh'> {
  readonly profile: string;
  readonly work?: string | undefined;
  readonly qemuPatch: string[];
  readonly yes?: true | undefined;
  readonly timing?: true | undefined;
}

/** Adds what decides which QEMU is used. */
export function addQemuOptions(command: Command, profile: string): Command {
  return command
    .addOption(
      new Option('--profile <profile>', "which QEMU is built: a machine profile's")
        .choices(profileNames())
        .default(profile),
    )
    .option(
      '--work <folder>',
      "a folder that `lab work` made: what is in it takes the place of the lab's own",
    )
    .option('--qemu <path>', 'build QEMU from this tree or tarball')
    .option('--qemu-version <version>', 'QEMU release (default: the one the exercise names)')
    .option('--source-mirror <url>', 'also look for release tarballs here (repeatable)', many, [] as string[])
    .option('--refresh', 'ask upstream and mirrors again even if they did not answer lately')
    .option(
      '--qemu-patch <file>',
      "apply this to QEMU instead of the lab's device (repeatable)",
      many,
      [] as string[],
    )
    .option('-y, --yes', 'install missing host packages without asking')
    .option('--timing', 'print how long each step took') as unknown as Command;
}

/** Adds what decides which machine runs. */
export function addMachineOptions(command: Command): Command {
  return command
    .option('--name <machine>', "name of the machine (default: the lab's)")
    .addOption(
      new Option('--profile <profile>', "machine profile (default: the lab's)").choices(profileNames()),
    )
    .addOption(
      new Option('--accel <accelerator>', 'auto: KVM if it really boots a kernel here, else TCG')
        .choices(['auto', 'kvm', 'tcg'] as const)
        .default('auto' as const),
    )
    .addOption(
      new Option(
        '--net <network>',
        "user: QEMU's own; tap: a device of this host, 10.0.2.1 to 10.0.2.100 (needs root)",
      )
        .choices(['user', 'tap'] as const)
        .default('user' as const),
    )
    .option('--tap-device <device>', 'with --net tap: a device that an administrator made (needs no root)')
    .option('--port <port>', 'host port for SSH (default: QEMU chooses a free one)', portNumber)
    .option('--memory <MiB>', 'memory of the guest', mebibytes, 1024)
    .option('--fresh', 'forget what the guest wrote to its disk before')
    .option('-y, --yes', 'install missing host packages without asking')
    .option('--timing', 'print how long each step took') as unknown as Command;
}

/** Which labs there are, for help and completion. An unknown name is answered by the library, with the nearest. */
export function labArgument(): Argument<string, string> {
  const argument = new Argument('[lab]', `the exercise: ${labNames().join(', ')}`).default(DEFAULT_LAB);
  argument.argChoices = labNames();
  return argument as never;
}

/**
 * What the flags mean for a lab.
 *
 * @throws LabError `usage/variant`, `usage/kernel`.
 */
export function upOptions(lab: Lab, flags: UpFlags): UpOptions {
  const profile = loadProfile(flags.profile ?? lab.profile);
  const variant = checkVariant(lab, flags.variant);
  if (flags.kernel === 'distro') checkDistro(lab, flags, profile, variant);
  return {
    ...treeOptions(labOf(lab, variant), flags),
    kernel: flags.kernel,
    name: flags.name ?? lab.name,
    profile: profile.name,
    instrumentation: profile.kernelFragments.map((name) => join(packageRoot, 'vm/kernel', name)),
    qemuSanitizers: profile.qemuSanitizers,
    variant,
    accelerator: flags.accel,
    net: networkOf(flags),
    memoryMiB: flags.memory,
    fresh: flags.fresh === true,
    qemuPatches: flags.qemuPatch,
    linuxPatches: flags.linuxPatch,
  };
}

function networkOf({ net, tapDevice, port }: UpFlags): Network {
  const wrong = (fact: string, next: string) =>
    new LabError({ code: 'usage/net', blame: 'user', fact, next });
  if (net === 'user') {
    if (tapDevice !== undefined)
      throw wrong('--tap-device has no meaning without --net tap', 'add --net tap');
    return { kind: 'user', sshPort: port ?? 0 };
  }
  if (port !== undefined) {
    throw wrong(
      '--port forwards a port to the guest, and a guest on a tap device has an address of its own',
      'leave --port out: its SSH server is found at 10.0.2.100 port 22',
    );
  }
  return tapDevice === undefined
    ? { kind: 'tap', device: OUR_TAP, ours: true }
    : { kind: 'tap', device: tapDevice, ours: false };
}

/** What the flags of a command that needs QEMU alone mean for a lab. */
export function qemuOptions(lab: Lab, flags: QemuFlags): PrepareOptions {
  const tree = treeOptions(lab, { ...flags, ...NO_GUEST });
  const { qemuSanitizers } = loadProfile(flags.profile);
  return { ...tree, qemuSanitizers, qemuPatches: flags.qemuPatch };
}

/** What the flags mean for source trees and the guest of a lab. */
export function treeOptions(lab: Lab, flags: TreeFlags): PrepareOptions {
  const path = (value: string | undefined) => (value === undefined ? {} : { path: value });
  const version = (value: string | undefined) => (value === undefined ? {} : { version: value });
  return {
    lab,
    variant: Object.keys(lab.variants)[0] ?? '',
    qemu: { ...path(flags.qemu), ...version(flags.qemuVersion) },
    linux: { ...path(flags.linux), ...version(flags.linuxVersion) },
    kernel: 'built',
    kernelConfig: flags.kernelConfig,
    instrumentation: [],
    qemuSanitizers: false,
    guest: flags.guest,
    alpineMirrors: flags.alpineMirror,
    sourceMirrors: flags.sourceMirror,
    qemuPatches: [],
    linuxPatches: [],
    refresh: flags.refresh === true,
  };
}

/** @throws LabError `usage/variant` with the known ones. */
export function checkVariant(lab: Lab, asked: string | undefined): string {
  const known = Object.keys(lab.variants);
  const variant = asked ?? known[0] ?? '';
  if (known.includes(variant)) return variant;
  const near = nearest(variant, known);
  throw new LabError({
    code: 'usage/variant',
    blame: 'user',
    fact: `the lab ${lab.name} has no variant ${variant}`,
    evidence: Object.entries(lab.variants).map(([name, { summary }]) => `${name}: ${summary}`),
    next: near === undefined ? 'choose one of these' : `did you mean --variant ${near}?`,
  });
}

/** Debian's kernel is taken as it is: whatever would change the kernel contradicts it. */
function checkDistro(lab: Lab, flags: UpFlags, profile: Profile, variant: string): void {
  const { contributions = [], fragments = [] } = lab.variants[variant] ?? {};
  const against = [
    ...(lab.ownKernel === undefined ? [] : [`the lab ${lab.name}: ${lab.ownKernel}`]),
    ...(flags.linux === undefined ? [] : ['--linux builds a kernel from a tree']),
    ...(flags.linuxVersion === undefined ? [] : ['--linux-version builds a kernel of that release']),
    ...(flags.linuxPatch.length === 0 ? [] : ['--linux-patch changes the kernel']),
    ...(flags.kernelConfig === 'lab' ? [] : ['--kernel-config configures a kernel']),
    ...(contributions.length + fragments.length === 0
      ? []
      : [`--variant ${variant} makes the lab's driver a part of the kernel`]),
    ...(profile.kernelFragments.length === 0
      ? []
      : [`--profile ${profile.name} needs a kernel of its own: ${profile.summary}`]),
  ];
  if (against.length === 0) return;
  throw new LabError({
    code: 'usage/kernel',
    blame: 'user',
    fact: "--kernel distro takes Debian's kernel as it is, and that does not fit what was asked for",
    evidence: against,
    next: 'leave --kernel distro out, and the kernel is built',
  });
}

function portNumber(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port >= 0 && port <= 65535) return port;
  throw new InvalidArgumentError('a port is a number from 0 to 65535');
}

function mebibytes(text: string): number {
  const size = Number(text);
  if (Number.isInteger(size) && size >= 128 && size <= 1024 * 1024) return size;
  throw new InvalidArgumentError('memory is a whole number of MiB, at least 128');
}
