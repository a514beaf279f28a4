import { readFile } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import { LabError } from '../errors.js';
import { runStep, type StepContext } from '../events.js';
import type { Guest } from '../guest/guest.js';
import type { Machine } from '../machine/machine.js';
import { type Network, tapAddresses } from '../machine/network.js';
import {
  liveRecord,
  type MachineRecord,
  readRecord,
  recordedMachines,
  removeRecord,
} from '../machine/record.js';
import { closeTap, openTap } from '../machine/tap.js';
import { requireTap } from '../machine/tap-require.js';
import type { Timeouts } from '../timeouts.js';

/** Makes sure, before any work, that a machine can be connected as asked. See `requireTap` for its errors. */
export async function requireNetwork(
  { name, net }: { readonly name: string; readonly net: Network },
  { signal }: Pick<StepContext, 'signal'>,
  timeouts: Timeouts,
): Promise<void> {
  if (net.kind === 'user' || liveRecord(name)?.tap?.device === net.device) return;
  await requireTap(net, { timeouts, signal });
}

export const NETWORK_STEP = 'Network';

/** Sets up, as a step of its own, what a machine that has just been started needs on this host; see `openTap`. */
export async function openNetwork(
  machine: Pick<Machine, 'name' | 'pid'>,
  net: Network,
  context: StepContext,
  timeouts: Timeouts,
): Promise<void> {
  if (net.kind === 'user') return;
  await runStep(context, 'network', NETWORK_STEP, async (step) => {
    if (!net.ours)
      return { value: undefined, detail: `${net.device}, made by an administrator: left as it is` };
    const { done, obstacles } = await openTap(machine, { timeouts, signal: step.signal });
    step.note(`until the machine goes, this host has: ${done}`);
    for (const obstacle of obstacles) {
      step.note(`${obstacle}, and is left alone: packets of the guest may not get past it`);
    }
    return { value: undefined, detail: `${tapAddresses.host} to ${tapAddresses.guest}` };
  });
}

/** Undoes what `openNetwork` did. The machine has ended. Never interrupted: it takes a moment. */
export async function closeNetwork(record: MachineRecord, timeouts: Timeouts): Promise<void> {
  if (record.tap?.ours === true) await closeTap(record, { timeouts });
}

/**
 * Undoes what a machine left behind that died without a command of ours to see it.
 *
 * @throws LabError `network/undo` when this takes more rights than we have.
 */
export async function closeDeadNetwork(name: string, timeouts: Timeouts): Promise<void> {
  const record = liveRecord(name) === undefined ? readRecord(name) : undefined;
  if (record?.tap === undefined) return;
  await closeNetwork(record, timeouts);
  await removeRecord(name);
}

/** `closeDeadNetwork` for all machines but those named. What cannot be undone is returned as errors. */
export async function closeDeadNetworks(timeouts: Timeouts, except: readonly string[]): Promise<LabError[]> {
  const failed: LabError[] = [];
  for (const name of recordedMachines().filter((recorded) => !except.includes(recorded))) {
    await closeDeadNetwork(name, timeouts).catch((error) => {
      if (!(error instanceof LabError)) throw error;
      failed.push(error);
    });
  }
  return failed;
}

const RESOLVERS = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'];

/** Tells the guest on a tap device which name servers this host uses. One on the host's loopback is none for it. */
export async function giveResolvers(guest: Guest): Promise<void> {
  for (const file of RESOLVERS) {
    const servers = nameServers(await readFile(file, 'utf8').catch(() => ''));
    if (servers.length === 0) continue;
    await guest.exec('cat > /etc/resolv.conf', {
      input: servers.map((server) => `nameserver ${server}\n`).join(''),
      check: true,
    });
    return;
  }
}

/** The name servers of a resolv.conf(5) that a guest with IPv4 alone can ask. */
export function nameServers(text: string): string[] {
  return [...text.matchAll(/^nameserver\s+(\S+)/gm)]
    .map(([, server = '']) => server)
    .filter((server) => isIPv4(server) && !server.startsWith('127.'));
}
