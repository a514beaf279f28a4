import { CheckFailure, expectEqual } from '../../lab/check.js';
import { type EventOf, eventsOf, type ProbeEvent } from './probe.js';

/** Slots that the probe tries for each of the two commands, and addresses that are bad for them. */
const SLOTS = 4;
const CANARY = 0xa5;

const WIDE = 'more than 4 bytes are copied: check the size given to copy_to_user';
const NARROW = 'fewer than 4 bytes are copied: the number has sizeof(unsigned int) bytes';

/**
 * Judges `edge`: exactly 4 bytes cross, wherever the slot lies.
 *
 * @param expected the first numbers of the seed; absent when the sequence is known to be wrong.
 * @returns the names of the slots.
 * @throws CheckFailure
 */
export function expectSlots(events: readonly ProbeEvent[], expected?: readonly number[]): string[] {
  const gets = eventsOf(events, 'edge');
  const seeds = eventsOf(events, 'edge-seed');
  expectEqual('the number of slots tried', `${gets.length} and ${seeds.length}`, `${SLOTS} and ${SLOTS}`);
  for (const slot of gets) expectOnlySlot(slot);
  expectWholeNumbers(gets.map(({ value }) => value));
  for (const [i, { value, case: name }] of gets.entries()) {
    if (expected !== undefined) expectEqual(`the number in slot ${name}`, value, expected[i]);
  }
  for (const slot of seeds) expectSeedTaken(slot, expected?.[0]);
  return gets.map((slot) => slot.case);
}

/** Nothing beside the 4 bytes of a slot was written. @throws CheckFailure */
export function expectOnlySlot(slot: EventOf<'edge'>): void {
  if (slot.error !== null) {
    throw new CheckFailure(`getting a number into the slot "${slot.case}" failed with ${slot.error}`, [
      JSON.stringify(slot),
    ]);
  }
  if (slot.before_intact && slot.after_intact) return;
  const where = slot.before_intact ? 'behind' : 'before';
  const fact = `getting a number overwrote bytes ${where} the 4 of the slot "${slot.case}"`;
  throw new CheckFailure(fact, [JSON.stringify(slot)], WIDE);
}

/** A byte that is the canary in every slot was never written. */
function expectWholeNumbers(values: readonly number[]): void {
  const untouched = [0, 8, 16, 24].filter((shift) =>
    values.every((value) => ((value >>> shift) & 0xff) === CANARY),
  );
  if (untouched.length === 0) return;
  const shown = values.map((value) => `0x${value.toString(16).padStart(8, '0')}`).join(' ');
  const fact = `only ${4 - untouched.length} of the 4 bytes of a number reach the user's variable`;
  throw new CheckFailure(fact, [`slots filled with 0xa5a5a5a5 became: ${shown}`], NARROW);
}

function expectSeedTaken(slot: EventOf<'edge-seed'>, first: number | undefined): void {
  const error = slot.error ?? slot.next_error;
  if (error !== null) {
    throw new CheckFailure(`seeding from the slot "${slot.case}" failed with ${error}`, [
      JSON.stringify(slot),
    ]);
  }
  if (!slot.intact) {
    const fact = `seeding from the slot "${slot.case}" changed the user's memory`;
    throw new CheckFailure(fact, [JSON.stringify(slot)], 'the seed is only read: use copy_from_user');
  }
  if (first !== undefined)
    expectEqual(`the first number after seeding from slot ${slot.case}`, slot.next, first);
}

/** All processes of `concurrent` or `reseed`, each of which must have come to its end. */
export function expectEnded(events: readonly ProbeEvent[], count: number): EventOf<'process'>[] {
  const processes = eventsOf(events, 'process');
  expectEqual('the number of processes', processes.length, count);
  for (const { index, exited, signal } of processes) {
    if (exited) continue;
    throw new CheckFailure(`process ${index} of ${count} was ended by signal ${signal}`);
  }
  return processes;
}
