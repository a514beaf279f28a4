import { randomBytes } from 'node:crypto';
import type { StepContext } from '../events.js';
import type { Guest } from '../guest/guest.js';
import { attachMachine } from '../machine/attach.js';
import { liveRecord, type MachineRecord } from '../machine/record.js';
import type { Timeouts } from '../timeouts.js';
import { bringUp, type UpOptions } from './bring-up.js';
import type { CheckTarget } from './check.js';
import { withGuest } from './connect.js';
import type { Lab } from './lab.js';
import { closeNetwork } from './network.js';

/** What checks look at, and the record of the machine it belongs to. */
export interface LiveTarget {
  readonly target: CheckTarget;
  readonly record: MachineRecord;
}

/** Calls `use` with a machine that an earlier command left running; it goes on afterwards. */
export async function withRunning<T>(
  lab: Lab,
  record: MachineRecord,
  context: StepContext,
  timeouts: Timeouts,
  use: (live: LiveTarget) => Promise<T>,
): Promise<T> {
  const machine = await attachMachine(record, { timeouts, signal: context.signal });
  try {
    const used = (guest: Guest) =>
      use({ record, target: targetOf(lab.name, { record, machine, guest }, timeouts) });
    return await withGuest(record, timeouts, context.signal, used, machine);
  } finally {
    await machine.release();
  }
}

/** Starts a machine of its own with a fresh disk, calls `use`, and ends the machine whatever happens. */
export async function withThrowaway<T>(
  options: UpOptions,
  context: StepContext,
  timeouts: Timeouts,
  use: (live: LiveTarget) => Promise<T>,
): Promise<T> {
  const fresh = { ...options, fresh: true };
  return await bringUp(fresh, context, timeouts, async ({ record, machine, guest }) => {
    try {
      return await use({ record, target: targetOf(options.lab.name, { record, machine, guest }, timeouts) });
    } finally {
      await guest.close();
      await machine.stop();
      await closeNetwork(record, timeouts);
    }
  });
}

/** The machine of a lab that runs already, if there is one, in the variant that is asked for. */
export function runningFor(
  lab: Lab,
  { name, variant }: { readonly name?: string | undefined; readonly variant?: string | undefined },
): MachineRecord | undefined {
  const record = liveRecord(name ?? lab.name);
  const fits = record?.lab === lab.name && record.variant === (variant ?? record.variant);
  return fits && record.stage === 'running' ? record : undefined;
}

function targetOf(
  lab: string,
  live: Pick<CheckTarget, 'machine' | 'guest'> & { record: MachineRecord },
  timeouts: Timeouts,
): CheckTarget {
  const { machine, guest, record } = live;
  const { profile, variant } = record;
  return { lab, machine, guest, profile, variant, timeouts, nonce: randomBytes(32) };
}
