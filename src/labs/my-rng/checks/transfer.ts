import {
  type Check,
  type CheckContext,
  CheckFailure,
  expectEqual,
  expectErrno,
  expectTrue,
} from '../../../lab/check.js';
import { glibcRandom } from '../glibc-random.js';
import { expectEnded, expectSlots } from '../observed.js';
import { eventsOf, expectSeeded, numbersOf, type ProbeEvent, runProbe } from '../probe.js';

const PROCESSES = 8;
const EACH = 64;
/** Numbers that are compared where a few suffice. */
const SAMPLE = 5;

/** How data crosses between user and kernel space: bad addresses, foreign commands, tight slots, many at once. */
export const transferChecks: readonly Check[] = [
  {
    id: 'unknown-commands',
    title: 'every command but the two fails with ENOTTY and changes nothing',
    deadline: 10_000,
    needs: ['mknod'],
    run: unknownCommands,
  },
  {
    id: 'edge-slots',
    title: 'exactly 4 bytes cross: between canaries, unaligned, across pages, before an unmapped page',
    deadline: 10_000,
    needs: ['mknod'],
    run: edgeSlots,
  },
  {
    id: 'concurrent',
    title: '8 processes at once read every number of the sequence once',
    deadline: 15_000,
    needs: ['mknod'],
    run: concurrent,
  },
  {
    id: 'reseed-race',
    title: '8 processes that seed and read at once see only the first 8 numbers of the seed',
    deadline: 15_000,
    needs: ['mknod'],
    run: reseedRace,
  },
  {
    id: 'bad-pointers',
    title:
      'NULL, unmapped, read-only, kernel and non-canonical addresses give EFAULT and nothing else happens',
    deadline: 15_000,
    needs: ['mknod'],
    run: badPointers,
  },
];

/** A seed of this run, so that a canned answer cannot fit. */
function seedOf({ nonce }: CheckContext, at: number): number {
  return nonce.readUInt32LE(at);
}

async function unknownCommands(context: CheckContext): Promise<void> {
  const seed = seedOf(context, 24);
  const events = await runProbe(context, '-s', seed, 'commands');
  const commands = eventsOf(events, 'command');
  for (const { name, request, error, intact } of commands) {
    expectErrno(`command ${request} (${name})`, error, 'ENOTTY');
    expectTrue(intact, `${name} changed the user's memory`);
  }
  expectNothingHappened(events, seed);
  if (commands.length === 0) throw new CheckFailure('the probe tried no command');
  context.prove(
    `${commands.length} foreign commands gave ENOTTY; the sequence of seed ${seed} was untouched`,
  );
}

async function edgeSlots(context: CheckContext): Promise<void> {
  const seed = seedOf(context, 24);
  const slots = expectSlots(await runProbe(context, '-s', seed, 'edge'), glibcRandom(seed, SAMPLE));
  context.prove(`${slots.join(', ')}: right number, canaries intact, for get and seed`);
}

async function concurrent(context: CheckContext): Promise<void> {
  const seed = seedOf(context, 28);
  const processes = await manyProcesses(context, seed, 'concurrent');
  const sorted = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b).join(' ');
  const seen = processes.flatMap(({ numbers }) => numbers);
  expectEqual(
    `the ${PROCESSES * EACH} numbers of all processes together`,
    sorted(seen),
    sorted(glibcRandom(seed, PROCESSES * EACH)),
    'a number was lost or handed out twice: accesses to the device are not serialised',
  );
  context.prove(
    `${PROCESSES} processes read ${seen.length} numbers: the sequence of seed ${seed}, each once`,
  );
}

async function reseedRace(context: CheckContext): Promise<void> {
  const seed = seedOf(context, 28);
  const processes = await manyProcesses(context, seed, 'reseed');
  const possible = new Set(glibcRandom(seed, PROCESSES));
  for (const { index, numbers } of processes) {
    const foreign = numbers.find((value) => !possible.has(value));
    if (foreign !== undefined) {
      throw new CheckFailure(
        `process ${index} read ${foreign}, which is none of the first ${PROCESSES} numbers`,
      );
    }
  }
  context.prove(`${PROCESSES} × ${EACH} reads, all among the first ${PROCESSES} numbers of seed ${seed}`);
}

async function manyProcesses(context: CheckContext, seed: number, subcommand: 'concurrent' | 'reseed') {
  const events = await runProbe(context, '-s', seed, subcommand, PROCESSES, EACH);
  expectSeeded(events);
  const processes = expectEnded(events, PROCESSES);
  for (const { index, error, numbers } of processes) {
    expectErrno(`process ${index}`, error, null);
    expectEqual(`the numbers of process ${index}`, numbers.length, EACH);
  }
  return processes;
}

async function badPointers(context: CheckContext): Promise<void> {
  const { guest, signal, prove } = context;
  const { stdout } = await guest.exec(['grep', '-c', '-w', 'smap', '/proc/cpuinfo'], { signal });
  expectEqual(
    "the guest's CPUs with SMAP",
    stdout.trim(),
    1,
    'without SMAP a raw user pointer goes unnoticed',
  );
  const seed = seedOf(context, 20);
  const events = await runProbe(context, '-s', seed, 'bad-pointers');
  const tried = eventsOf(events, 'tried');
  for (const { command, case: name, address, error } of tried) {
    expectErrno(`${command} at ${name} (${address})`, error, 'EFAULT');
  }
  const page = eventsOf(events, 'read-only-page')[0];
  expectEqual('the read-only page is untouched', page?.intact, true);
  expectNothingHappened(events, seed);
  if (tried.length === 0) throw new CheckFailure('the probe tried no address');
  prove(
    `${tried.length} bad addresses gave EFAULT with SMAP on; the sequence of seed ${seed} went on undisturbed`,
  );
}

/** After every `seed` event the following numbers begin the seed's sequence: nothing was consumed or re-seeded. */
function expectNothingHappened(events: readonly ProbeEvent[], seed: number): void {
  expectSeeded(events);
  const samples = eventsOf(events, 'numbers');
  if (samples.length === 0) throw new CheckFailure('the probe read no numbers afterwards');
  for (const i of samples.keys()) {
    const numbers = numbersOf(events, i);
    expectEqual('the sequence afterwards', numbers.join(' '), glibcRandom(seed, numbers.length).join(' '));
  }
}
