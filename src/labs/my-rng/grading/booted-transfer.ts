import { CheckFailure } from '../../../lab/check.js';
import { expectEnded, expectOnlySlot, expectSlots } from '../observed.js';
import { type EventOf, eventsOf, ProbeCut, type ProbeEvent } from '../probe.js';
import { judgeAddresses, judgeCommands } from './booted-answers.js';
import { bootedCheck, probe, script } from './booted-guard.js';
import type { Bench, BootedCheck, BootedFindings, BootedSetup } from './booted-setup.js';

const PROCESSES = 8;
const EACH = 64;
/** Numbers that a driver may lose among those of all processes. */
const LOST = 64;
/** Enough of a sequence to find where a few numbers stand in it. */
const SAMPLE = 40;

/** How data crosses between user and kernel space: harmless first, what may end the kernel last. */
export function transferChecks(setup: BootedSetup, findings: BootedFindings): BootedCheck[] {
  const common = { line: 'driver-safe-transfer', needs: ['driver-registers'] } as const;
  return [
    bootedCheck(setup, findings, {
      ...common,
      id: 'driver-slots',
      title: 'exactly 4 bytes cross: between canaries, unaligned, across pages, before an unmapped page',
      run: slots,
    }),
    bootedCheck(setup, findings, {
      ...common,
      id: 'driver-at-once',
      title: `${PROCESSES} processes at once get numbers of the device, and all come to their end`,
      run: atOnce,
    }),
    bootedCheck(setup, findings, {
      ...common,
      id: 'driver-unknown-commands',
      title: 'commands that the driver does not have fail with ENOTTY and change nothing',
      run: unknownCommands,
    }),
    bootedCheck(setup, findings, {
      ...common,
      id: 'driver-bad-addresses',
      title: 'NULL, unmapped, read-only and kernel addresses give EFAULT, and the driver works afterwards',
      run: badAddresses,
    }),
  ];
}

/** The sequence to compare with; undefined when that check of the other line has failed already. */
async function expectedOf({ setup, findings }: Bench, seed: number, count: number) {
  return findings.faithful ? await setup.oracle.numbers(seed, count) : undefined;
}

async function slots(bench: Bench): Promise<void> {
  const seed = bench.context.nonce.readUInt32LE(24);
  const events = await probe(bench, '-s', seed, 'edge').catch((error: unknown) => {
    // A driver that copies far too much ends the probe, whose own memory it overwrites.
    if (error instanceof ProbeCut) for (const slot of eventsOf(error.events, 'edge')) expectOnlySlot(slot);
    throw error;
  });
  const names = expectSlots(events, await expectedOf(bench, seed, SAMPLE));
  bench.context.prove(`${names.join(', ')}: 4 bytes each, canaries intact, for get and seed`);
}

async function atOnce(bench: Bench): Promise<void> {
  const { context } = bench;
  const seed = context.nonce.readUInt32LE(16);
  const processes = expectEnded(await probe(bench, '-s', seed, 'concurrent', PROCESSES, EACH), PROCESSES);
  const other = processes.find(({ error }) => error !== null && error !== 'EBUSY');
  if (other !== undefined) {
    throw new CheckFailure(`process ${other.index} of ${PROCESSES} at once failed with ${other.error}`);
  }
  const worked = processes.filter(({ error }) => error === null);
  if (worked.length < PROCESSES) {
    context.note(
      `${PROCESSES - worked.length} processes were refused with EBUSY: the driver serves one at a time`,
    );
  }
  const total = worked.reduce((sum, { numbers }) => sum + numbers.length, 0);
  if (total !== worked.length * EACH)
    throw new CheckFailure(`${worked.length} processes got ${total} numbers instead of ${EACH} each`);
  const expected = await expectedOf(bench, seed, PROCESSES * EACH + LOST);
  if (expected !== undefined) judgeShares(worked, expected, context.note);
  context.prove(
    `of ${PROCESSES} processes at once ${worked.length} got ${total} numbers${expected === undefined ? '' : ` of seed ${seed}`}, and all came to their end`,
  );
}

/** Numbers lost or given twice are noted: the exercise does not ask for locking. Invented ones are a fault. */
function judgeShares(
  processes: readonly EventOf<'process'>[],
  expected: readonly number[],
  note: (text: string) => void,
): void {
  const known = new Set(expected);
  const all = processes.flatMap(({ numbers }) => numbers);
  for (const { index, numbers } of processes) {
    const foreign = numbers.find((value) => !known.has(value));
    if (foreign === undefined) continue;
    const fact = `with ${PROCESSES} processes at once, process ${index} got ${foreign}, which the device never gave`;
    const hint = 'keep each number in a local variable of the ioctl function, or lock what is shared';
    throw new CheckFailure(fact, [`its numbers: ${numbers.slice(0, 8).join(' ')} …`], hint);
  }
  const twice = all.length - new Set(all).size;
  if (twice > 0) note(`${twice} numbers were given to two processes: accesses are not serialised`);
}

async function unknownCommands(bench: Bench): Promise<void> {
  const { context, findings } = bench;
  const seed = context.nonce.readUInt32LE(24);
  const events = await probe(bench, '-s', seed, 'commands');
  const { notes, extra, refused } = judgeCommands(eventsOf(events, 'command'));
  for (const text of notes) context.note(text);
  findings.extraCommands.push(...extra);
  const expected = await expectedOf(bench, seed, SAMPLE);
  if (expected !== undefined && extra.length === 0) {
    const place = placeOf(sample(events, 0), expected);
    if (place === undefined) {
      const fact = 'a command that the driver does not have changed the generator';
      throw new CheckFailure(fact, shownSamples(events, expected), 'do nothing in the default case but fail');
    }
    if (place > 0) context.note(`unknown commands used up ${place} numbers`);
  }
  context.prove(`${refused} foreign commands were refused`);
}

async function badAddresses(bench: Bench): Promise<void> {
  const { context } = bench;
  const smap = await script(bench, 'grep -c -w smap /proc/cpuinfo');
  if (smap.stdout.trim() === '0')
    context.note(
      'the CPU of this machine has no SMAP: a user pointer that is touched directly goes unnoticed',
    );
  const seed = context.nonce.readUInt32LE(20);
  const events = await probe(bench, '-s', seed, 'bad-pointers');
  const tried = eventsOf(events, 'tried');
  judgeAddresses(tried, eventsOf(events, 'read-only-page')[0]?.intact === true);
  expectWorksAfterwards(bench, events, await expectedOf(bench, seed, SAMPLE));
  context.prove(`${tried.length} bad addresses gave EFAULT; afterwards seed ${seed} is served as before`);
}

/**
 * Three samples: after gets that failed, after seeds that failed, and after a new seed. A number that could not be
 * delivered may be lost; a seed that could not be fetched must not arrive.
 */
function expectWorksAfterwards(
  { context }: Bench,
  events: readonly ProbeEvent[],
  expected: readonly number[] | undefined,
): void {
  const failed = eventsOf(events, 'seed').find(({ error }) => error !== null);
  const unread = eventsOf(events, 'numbers').find(({ error }) => error !== null);
  const error = failed?.error ?? unread?.error;
  if (error !== undefined && error !== null) {
    const fact = `after bad addresses the driver fails with ${error} for good ones too`;
    throw new CheckFailure(fact, [], 'a call that failed must leave the driver as it was');
  }
  if (expected === undefined) return;
  const places = [0, 1, 2].map((i) => placeOf(sample(events, i), expected));
  if (places[2] !== 0) {
    const fact = 'after bad addresses a new seed does not give its sequence any more';
    throw new CheckFailure(fact, shownSamples(events, expected), 'a call that failed must change nothing');
  }
  if (places[1] === undefined) {
    const fact = 'a seed command with a bad address seeded the device';
    const hint = 'return -EFAULT when copy_from_user() fails, before anything is written to SEED';
    throw new CheckFailure(fact, shownSamples(events, expected), hint);
  }
  if (places[0] !== 0) {
    const lost = places[0] === undefined ? 'numbers' : `${places[0]} numbers`;
    context.note(`${lost} were lost to gets whose address was bad, which the exercise allows`);
  }
}

function sample(events: readonly ProbeEvent[], index: number): readonly number[] {
  return eventsOf(events, 'numbers')[index]?.numbers ?? [];
}

/** Where these numbers stand in the sequence, whole and in order. */
function placeOf(numbers: readonly number[], expected: readonly number[]): number | undefined {
  if (numbers.length === 0) return undefined;
  const place = expected.findIndex((_, at) => numbers.every((value, i) => value === expected[at + i]));
  return place === -1 ? undefined : place;
}

function shownSamples(events: readonly ProbeEvent[], expected: readonly number[]): string[] {
  const samples = eventsOf(events, 'numbers').map(({ numbers }) => `actual:   ${numbers.join(' ')}`);
  return [`expected: ${expected.slice(0, 5).join(' ')} …`, ...samples];
}
