import { LabError } from '../../errors.js';
import { quoteForShell } from '../../guest/command.js';
import type { Guest } from '../../guest/guest.js';
import type { GuestProcess } from '../../guest/process.js';
import { type HotDisk, plugDisk, unplugDisk } from '../../machine/hot-disk.js';
import type { HotPlugOptions } from '../../machine/hot-plug.js';
import type { Machine } from '../../machine/machine.js';

/** What hands a connection to the kernel: the distribution's program, or the lab's own. */
export type Client = 'nbd-client' | 'vblk-attach';

export interface NbdOptions {
  /** As `surveyGuest` found it. */
  readonly host: Surroundings;
  /** Port at which the server listens there. */
  readonly port: number;
  /** Name of the export. */
  readonly export: string;
  /** `/dev/nbd0` */
  readonly node: string;
  /** Default: the distribution's where there is one. Reconnecting is what only our own can. */
  readonly client?: Client;
  /** Bytes of a logical block of the kernel's disk; default 512. */
  readonly block?: number;
  /** Seconds for which the kernel waits for an answer; default 30. */
  readonly patience?: number;
  readonly signal: AbortSignal;
}

/** The host as its guest sees it, and what the guest has. */
export interface Surroundings {
  /** The host's address. */
  readonly address: string;
  /** Where a server has to listen to be seen there. */
  readonly listen: string;
  /** Whether that is another address than the loopback: that of the tap device between the two. */
  readonly remote: boolean;
  /** What attaches when no other program is asked for. */
  readonly client: Client;
}

/** In QEMU's user network the gateway stands for the loopback of the host (QEMU, system/devices/net). */
const USER_NETWORK = '10.0.2.2';

/** The host is the guest's gateway, whichever network it has. */
export async function surveyGuest(guest: Guest, signal: AbortSignal): Promise<Surroundings> {
  const script = 'cat /proc/net/route; command -v nbd-client || :';
  const { stdout } = await guest.exec(script, { signal, check: true });
  const address = gatewayOf(stdout) ?? USER_NETWORK;
  const remote = address !== USER_NETWORK;
  const client = stdout.includes('nbd-client') ? 'nbd-client' : 'vblk-attach';
  return { address, remote, listen: remote ? address : '127.0.0.1', client };
}

/** Pure. The gateway of the default route in the text of /proc/net/route, whose numbers are little endian. */
export function gatewayOf(routes: string): string | undefined {
  const fields = routes.split('\n').map((line) => line.split('\t'));
  const gateway = fields.find(([, destination]) => destination === '00000000')?.[2];
  return gateway === undefined ? undefined : [...Buffer.from(gateway, 'hex').reverse()].join('.');
}

/**
 * Makes sure that the guest has what attaching needs.
 *
 * @throws LabError `vblk/no-driver`.
 */
export async function requireDriver(guest: Guest, node: string, signal: AbortSignal): Promise<void> {
  const script = `[ -d /sys/module/nbd ] || modprobe nbd || exit 1
[ -b ${quoteForShell(node)} ] || { echo "there is no" ${quoteForShell(node)} >&2; exit 1; }
command -v nbd-client || command -v vblk-attach`;
  const { exitCode, stderr } = await guest.exec(script, { signal });
  if (exitCode === 0) return;
  throw new LabError({
    code: 'vblk/no-driver',
    blame: 'user',
    fact: `the guest cannot attach ${node}`,
    evidence: stderr.trim().split('\n').slice(-3),
    next: '`lab up vblk` starts a machine that can; any machine can have it as a disk: --as disk',
  });
}

/**
 * Attaches an export as a disk of the guest's kernel, which keeps it until `detachNbd`.
 *
 * @returns the program that did it.
 * @throws LabError `guest/command` with the program's own words.
 */
export async function attachNbd(guest: Guest, options: NbdOptions): Promise<Client> {
  const { host, signal, client = host.client } = options;
  await guest.exec(attachWords(client, options), { signal, check: true });
  return client;
}

/** Pure. The command by which the client attaches. */
export function attachWords(
  client: Client,
  { host, port, node, block = 512, patience = 30, ...options }: Omit<NbdOptions, 'signal'>,
): readonly string[] {
  const named = options.export === '' ? [] : ['-N', options.export];
  const { address } = host;
  const limits = ['-b', String(block), '-t', String(patience)];
  return client === 'nbd-client'
    ? ['nbd-client', address, String(port), node, ...limits, ...named]
    : ['vblk-attach', 'attach', address, String(port), options.export, node, ...limits];
}

/** Takes it away in good order; the server sees it. */
export async function detachNbd(
  guest: Guest,
  { client, node, signal }: { readonly client: Client; readonly node: string; readonly signal: AbortSignal },
): Promise<void> {
  const words = client === 'nbd-client' ? ['nbd-client', '-d', node] : ['vblk-attach', 'detach', node];
  await guest.exec(words, { signal, check: true });
}

/**
 * Attaches an export and stays: whenever its connection breaks, a new one is made, and requests wait for it. Whoever
 * holds the program ends it with SIGTERM, which detaches the disk.
 */
export async function attachForGood(guest: Guest, options: NbdOptions): Promise<GuestProcess> {
  const words = [...attachWords('vblk-attach', options), '--reconnect'];
  return await guest.spawn(`exec ${words.map(quoteForShell).join(' ')}`, { signal: options.signal });
}

/** A machine and the guest in it. */
export interface Live {
  readonly machine: Pick<Machine, 'monitor'>;
  readonly guest: Guest;
}

/**
 * Attaches an export as a virtio disk of the machine, by QEMU's own NBD client.
 *
 * @returns the disk's node in the guest: `/dev/vdb`.
 * @throws LabError `monitor/command`, `guest/command`.
 */
export async function attachDisk(
  { machine, guest }: Live,
  disk: HotDisk,
  options: HotPlugOptions,
): Promise<string> {
  await plugDisk(machine.monitor, disk, options);
  const { stdout } = await guest.exec(lookFor(disk.id), { signal: options.signal, check: true });
  return stdout.trim();
}

/** A kernel without a driver for hot plug finds the device when it looks; one that has such a driver loses nothing. */
function lookFor(id: string): string {
  return `echo 1 >/sys/bus/pci/rescan
for file in /sys/block/vd*/serial; do
  [ "$(cat $file)" = ${quoteForShell(id)} ] || continue
  name=\${file%/serial}
  echo /dev/\${name##*/}
  exit 0
done
echo "the kernel found no disk with the serial number" ${quoteForShell(id)} >&2
exit 1`;
}

/** Takes the disk away in good order: the guest lets go of it first. */
export async function detachDisk(
  { machine, guest }: Live,
  { id, node }: { readonly id: string; readonly node: string },
  options: HotPlugOptions,
): Promise<void> {
  const block = `/sys/block/${node.slice('/dev/'.length)}`;
  const remove = `device=$(readlink -f ${block}/device); echo 1 >\${device%/*}/remove`;
  await guest.exec(remove, { signal: options.signal, check: true });
  await unplugDisk(machine.monitor, id, options);
}
