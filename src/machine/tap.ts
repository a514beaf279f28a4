import { LabError } from '../errors.js';
import { ipBatch, ipJson, nft, readIpForward, type ToolContext, writeIpForward } from '../host/network.js';
import { OUR_TAP, tapAddresses } from './network.js';
import { foreignDrops } from './tap-conflicts.js';

/** The machine that a tap device belongs to. */
export interface TapOwner {
  readonly name: string;
  /** QEMU, which has created the device. */
  readonly pid: number;
}

export interface OpenedTap {
  /** What was done to the host, in words. */
  readonly done: string;
  /** What may keep packets from passing, in words: rules of others, which are left alone. */
  readonly obstacles: readonly string[];
}

/**
 * Gives the device that a running QEMU has created its address, and lets its guest out by NAT.
 *
 * The order makes every moment undoable: the table comes first and its comment says what `ip_forward` was, the
 * address comes last. The device goes with QEMU, and its address and routes with it; the rest is for `closeTap`.
 *
 * @throws LabError `run/failed` with the words of ip(8) or nft(8).
 */
export async function openTap(owner: TapOwner, context: ToolContext): Promise<OpenedTap> {
  const { host, prefix, subnet } = tapAddresses;
  const abandoned = await ourTable(context);
  if (abandoned !== undefined) await undo(abandoned, context); // the device is ours now
  const before = await readIpForward();
  await nft(['-f', '-'], context, { input: rules(owner, before) });
  if (before === '0') await writeIpForward('1');
  await ipBatch([`address add ${host}/${prefix} dev ${OUR_TAP}`, `link set dev ${OUR_TAP} up`], context);
  const { stdout } = await nft(['-j', 'list', 'chains'], context);
  const forward = before === '0' ? 'ip_forward 0 → 1' : 'ip_forward is 1 already';
  const done = `device ${OUR_TAP} with ${host}/${prefix}, NAT for ${subnet} in the nft table ${OUR_TAP}, ${forward}`;
  return { done, obstacles: foreignDrops(JSON.parse(stdout)) };
}

/**
 * Undoes what `openTap` did for this machine, which has ended. Nothing to undo is no error, and what belongs to another
 * machine by now is left alone.
 *
 * @throws LabError `network/undo` when nft(8) does not let us look.
 */
export async function closeTap(owner: TapOwner, context: ToolContext): Promise<void> {
  const table = await ourTable(context);
  if (table?.comment.startsWith(ownerMark(owner)) === true) await undo(table, context);
}

/** The same for whichever machine died and left a table without its device. */
export async function closeAbandonedTap(context: ToolContext): Promise<void> {
  const table = await ourTable(context);
  if (table === undefined) return;
  // in this order: a table is made only while its device is there
  if (!(await tapExists(context))) await undo(table, context);
}

/** Whether this host has a device of the name that we use. */
export async function tapExists(context: ToolContext): Promise<boolean> {
  return (await ipJson(['link', 'show', 'dev', OUR_TAP], context)).length > 0;
}

/** The machine that has set the network up, or had when it died: what the table says of it. */
export async function tapHolder(context: ToolContext): Promise<string | undefined> {
  return (await ourTable(context))?.comment.split(', ip_forward')[0];
}

/**
 * nft rules for a guest. Who was not forwarded before is not forwarded now either: if we turn forwarding on, it is on
 * for all interfaces, so everything but the guest's own packets is dropped.
 */
export function rules(owner: TapOwner, forwardBefore: '0' | '1'): string {
  return `table ip ${OUR_TAP} {
  comment "${ownerMark(owner)} ip_forward was ${forwardBefore}"
  chain forward {
    type filter hook forward priority filter; policy ${forwardBefore === '0' ? 'drop' : 'accept'};
    iifname "${OUR_TAP}" ip saddr ${tapAddresses.guest} accept
    iifname "${OUR_TAP}" drop
    oifname "${OUR_TAP}" ct state established,related accept
    oifname "${OUR_TAP}" drop
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${tapAddresses.subnet} oifname != "${OUR_TAP}" masquerade
  }
}
`;
}

/** nft keeps at most 128 bytes of a comment. */
function ownerMark({ name, pid }: TapOwner): string {
  return `machine ${name.replaceAll(/[^\w.-]/g, '_').slice(0, 64)}, QEMU ${pid},`;
}

interface Table {
  readonly comment: string;
  readonly handle: string;
}

async function undo({ comment, handle }: Table, context: ToolContext): Promise<void> {
  // first, so that at no time everything is forwarded
  if (/ip_forward was 0$/.test(comment)) await writeIpForward('0');
  // by its handle: another command may have undone this already, and a machine made a new one
  await nft(['delete', 'table', 'ip', 'handle', handle], context, { accept: [0, 1] });
}

async function ourTable(context: ToolContext): Promise<Table | undefined> {
  const command = ['-a', 'list', 'table', 'ip', OUR_TAP];
  const { stdout, stderr, exitCode } = await nft(command, context, { accept: [0, 1] });
  const handle = /^table ip \S+ \{ # handle (\d+)$/m.exec(stdout)?.[1];
  if (handle === undefined && (exitCode === 0 || stderr.includes('No such file'))) return undefined;
  if (handle === undefined) throw cannotUndo(stderr);
  return { handle, comment: /^\s*comment "(.*)"$/m.exec(stdout)?.[1] ?? '' };
}

function cannotUndo(stderr: string): LabError {
  return new LabError({
    code: 'network/undo',
    blame: 'user',
    fact: `nft cannot list its table ${OUR_TAP}, which says what a machine with --net tap has changed on this host`,
    evidence: stderr.trim().split('\n'),
    next: /not permitted/.test(stderr)
      ? 'run the same command with `sudo -E`'
      : 'see what `nft list ruleset` says by hand; a new machine can do without: --net user',
  });
}
