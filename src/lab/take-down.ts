import { join } from 'node:path';
import { withLock } from '../host/lock.js';
import { killGroup } from '../host/run.js';
import { attachMachine } from '../machine/attach.js';
import type { Machine } from '../machine/machine.js';
import { liveRecord, type MachineRecord, machineFolder, removeRecord } from '../machine/record.js';
import type { Timeouts } from '../timeouts.js';
import { connectTo } from './connect.js';
import { deadGuest } from './health.js';
import { closeDeadNetwork, closeNetwork } from './network.js';

/** How a machine ended: by its guest (clean), by QMP, by a signal, or not at all because it was not running. */
export type TakenDown = 'guest' | 'quit' | 'killed' | 'not running';

/**
 * Shuts a machine down: the guest first (file systems clean), then QMP, then a signal. `force` skips the guest.
 * A machine that is not running is no error.
 */
export async function takeDown(
  name: string,
  options: { readonly force: boolean; readonly timeouts: Timeouts; readonly signal: AbortSignal },
): Promise<TakenDown> {
  return await withLock(join(machineFolder(name), 'lock'), { signal: options.signal }, async () => {
    const record = liveRecord(name);
    if (record === undefined) {
      await closeDeadNetwork(name, options.timeouts);
      await removeRecord(name);
      return 'not running';
    }
    if (options.force) return await force(record, options);
    const machine = await attachMachine(record, options);
    return await shutDown(machine, record, options.timeouts, options.signal);
  });
}

/** Ends a machine that we hold: `poweroff` over SSH, then as `Machine.stop()` does. */
export async function shutDown(
  machine: Machine,
  record: MachineRecord,
  timeouts: Timeouts,
  signal: AbortSignal,
): Promise<'guest' | 'quit' | 'killed'> {
  if ((await deadGuest(record.name)) !== undefined) return await ended(record, machine.stop(), timeouts);
  const powerOff = async () => {
    const guest = await connectTo(record, timeouts, signal);
    // The connection ends before the command does: that is what it was asked for.
    await guest.exec('/etc/lab/shutdown off', { timeout: timeouts.guestCommand }).catch(() => {});
  };
  return await ended(record, machine.stop(powerOff), timeouts);
}

async function ended<T>(record: MachineRecord, stop: Promise<T>, timeouts: Timeouts): Promise<T> {
  const how = await stop;
  await closeNetwork(record, timeouts);
  await removeRecord(record.name);
  return how;
}

async function force(
  record: MachineRecord,
  options: { readonly timeouts: Timeouts; readonly signal: AbortSignal },
): Promise<'quit' | 'killed'> {
  const machine = await attachMachine(record, options).catch(() => undefined); // its monitor may hang: that is why
  const how = await machine?.stop();
  if (how === undefined) killGroup(record.pid);
  await closeNetwork(record, options.timeouts);
  await removeRecord(record.name);
  return how === 'quit' ? 'quit' : 'killed';
}
