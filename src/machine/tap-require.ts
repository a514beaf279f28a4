import { access, constants, readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { z } from 'zod';
import { LabError } from '../errors.js';
import { IP_FORWARD, ipJson, nft, readIpForward, type ToolContext } from '../host/network.js';
import { OUR_TAP, type TapNetwork, tapAddresses } from './network.js';
import { closeAbandonedTap, rules, tapExists, tapHolder } from './tap.js';
import { conflictingRoutes } from './tap-conflicts.js';

/**
 * Makes sure, before any work, that a machine can have this tap device: rights, the kernel's tap driver, tools, and
 * addresses that nobody else uses. What a machine that died has left of its network is undone on the way.
 *
 * @throws LabError `network/rights`, `network/no-tun`, `network/forwarding`, `network/taken`, `network/device`, or
 *   `run/missing` and `run/failed` from ip(8) and nft(8).
 */
export async function requireTap(net: TapNetwork, context: ToolContext): Promise<void> {
  if (net.ours && !(await isNetworkAdmin())) throw noRights();
  await requireTunDriver();
  if (!net.ours) return await requireDevice(net.device, context);
  await closeAbandonedTap(context);
  await requireUnused(context);
  await requireForwarding();
  // nothing is changed, but the kernel has its say
  await nft(['-c', '-f', '-'], context, { input: rules({ name: 'check', pid: 0 }, '0') });
}

/** Bit of CAP_NET_ADMIN in the kernel's capability masks; see capabilities(7). */
const CAP_NET_ADMIN = 12n;

/** Whether this process may create network devices, addresses and rules. */
export async function isNetworkAdmin(): Promise<boolean> {
  const status = await readFile('/proc/self/status', 'utf8');
  const mask = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  return ((mask >> CAP_NET_ADMIN) & 1n) === 1n;
}

function noRights(): LabError {
  return new LabError({
    code: 'network/rights',
    blame: 'user',
    fact: '--net tap changes the network of this host, and that takes root (CAP_NET_ADMIN)',
    evidence: [
      `it would create the device ${OUR_TAP} with ${tapAddresses.host}/${tapAddresses.prefix}, an nft table of the same name, and set ip_forward`,
      'all of it is undone when the machine goes',
    ],
    next: [
      'run the same command with `sudo -E`, or use --net user, or have a device made for you once:',
      ...deviceCommands('lab0'),
      '  lab up --net tap --tap-device lab0',
    ].join('\n'),
  });
}

const TUN = '/dev/net/tun';

/** @throws LabError `network/no-tun`. */
export async function requireTunDriver(): Promise<void> {
  try {
    await access(TUN, constants.R_OK | constants.W_OK);
  } catch (cause) {
    throw new LabError({
      code: 'network/no-tun',
      blame: 'host',
      fact: `--net tap needs ${TUN}, which cannot be opened (${(cause as NodeJS.ErrnoException).code})`,
      next: 'sudo modprobe tun   (a container gets it with --device /dev/net/tun); or use --net user',
      cause,
    });
  }
}

/** Neither the device's name nor any of the addresses may have another use. */
async function requireUnused(context: ToolContext): Promise<void> {
  const { host, prefix, subnet } = tapAddresses;
  const routes = await ipJson(['-4', 'route', 'show', 'table', 'all'], context);
  const evidence = [
    ...((await tapExists(context)) ? [`device: ${OUR_TAP}`] : []),
    ...conflictingRoutes(routes, subnet).map((route) => `route: ${route}`),
  ];
  if (evidence.length === 0) return;
  const holder = await tapHolder(context);
  throw new LabError({
    code: 'network/taken',
    blame: 'user',
    fact: `what --net tap gives this host, the device ${OUR_TAP} with ${host}/${prefix}, is in use here`,
    evidence: holder === undefined ? evidence : [`by: ${holder}`, ...evidence],
    next:
      holder === undefined
        ? 'use --net user, or run it in a network namespace of its own: sudo unshare --net'
        : 'only one machine at a time can have it: `lab down` that one first, or use --net user',
  });
}

async function requireForwarding(): Promise<void> {
  if ((await readIpForward()) === '1') return;
  try {
    await access(IP_FORWARD, constants.W_OK);
  } catch (cause) {
    throw new LabError({
      code: 'network/forwarding',
      blame: 'host',
      fact: `${IP_FORWARD} is 0 and cannot be written, so the guest would reach this host only`,
      next: 'set it where it can be set: sudo sysctl net.ipv4.ip_forward=1; or use --net user',
      cause,
    });
  }
}

const linkSchema = z.object({
  flags: z.array(z.string()),
  linkinfo: z
    .object({ info_data: z.object({ type: z.string().optional(), user: z.string().optional() }).optional() })
    .optional(),
});
const addressSchema = z.object({
  addr_info: z.array(z.object({ local: z.string().optional(), prefixlen: z.number().optional() })),
});

/** An administrator's device: a tap that we may open, up, with the address that the guest will look for. */
async function requireDevice(device: string, context: ToolContext): Promise<void> {
  const [link] = await ipJson(['-d', 'link', 'show', 'dev', device], context);
  if (link === undefined) throw unfit(device, 'does not exist');
  const { flags, linkinfo } = linkSchema.parse(link);
  const { type, user } = linkinfo?.info_data ?? {};
  if (type !== 'tap') throw unfit(device, 'is no tap device');
  const { username, uid } = userInfo();
  const mine = user === undefined || user === username || user === String(uid);
  if (!mine && !(await isNetworkAdmin())) throw unfit(device, `belongs to ${user}`);
  if (!flags.includes('UP')) throw unfit(device, 'is down');
  if (flags.includes('LOWER_UP')) throw unfit(device, 'is in use by another process');
  const addresses = await ipJson(['-4', 'address', 'show', 'dev', device], context);
  const { host, prefix } = tapAddresses;
  const has = addresses
    .flatMap((entry) => addressSchema.parse(entry).addr_info)
    .some(({ local, prefixlen }) => local === host && prefixlen === prefix);
  if (!has) throw unfit(device, `does not have the address ${host}/${prefix}`);
}

function unfit(device: string, why: string): LabError {
  return new LabError({
    code: 'network/device',
    blame: 'user',
    fact: `the network device ${device} ${why}`,
    next: ['an administrator makes one for you with:', ...deviceCommands(device)].join('\n'),
  });
}

function deviceCommands(device: string): string[] {
  const { host, prefix } = tapAddresses;
  return [
    `  sudo ip tuntap add dev ${device} mode tap user ${userInfo().username}`,
    `  sudo ip address add ${host}/${prefix} dev ${device}`,
    `  sudo ip link set dev ${device} up`,
  ];
}
