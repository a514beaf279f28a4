import { z } from 'zod';
import { quoteForShell } from '../../guest/command.js';
import { type CheckContext, CheckFailure, expectEqual, expectErrno } from '../../lab/check.js';
import type { ModuleSetup } from '../../lab/module-checks.js';
import { parseProbeLines } from '../../lab/probe-lines.js';
import { runLogged } from '../../lab/run-logged.js';
import { moduleWords } from './device.js';

const PROBE = 'virtblkiosim-probe';
const error = z.string().nullable();
const count = z.number();

/** What the probe prints, one JSON object per line; see patches/virtblkiosim/guest/virtblkiosim-probe.c. */
const event = z.discriminatedUnion('event', [
  z.object({ event: z.literal('start'), subcommand: z.string() }),
  z.object({ event: z.literal('end'), status: count }),
  z.object({ event: z.literal('blocked'), what: z.string(), error }),
  z.object({ event: z.literal('filled'), bytes: count, error }),
  z.object({ event: z.literal('sum'), sum: z.string(), nonzero: count, stale: count, error }),
  z.object({ event: z.literal('cleared'), error }),
  z.object({
    event: z.literal('process'),
    index: count,
    exited: z.boolean(),
    signal: count,
    error,
    done: count,
    wrong: count,
  }),
  z.object({
    event: z.literal('aio'),
    mode: z.string(),
    depth: count,
    done: count,
    errors: count,
    wrong: count,
    iops: count,
    error,
  }),
  z.object({
    event: z.literal('beyond'),
    call: z.string(),
    offset: count,
    bytes: count,
    result: count,
    error,
  }),
  z.object({ event: z.literal('register'), error }),
  z.object({ event: z.literal('size'), error, size: count, intact: z.boolean() }),
  z.object({
    event: z.literal('block'),
    command: z.string(),
    case: z.string(),
    error,
    intact: z.boolean(),
    equal: z.boolean(),
  }),
  z.object({ event: z.literal('found'), count, offset: count, error }),
  z.object({ event: z.literal('positions'), blocks: count, equal: count, error }),
  z.object({ event: z.literal('trying'), command: z.string(), case: z.string(), address: z.string() }),
  z.object({ event: z.literal('tried'), command: z.string(), case: z.string(), address: z.string(), error }),
  z.object({ event: z.literal('read-only-page'), intact: z.boolean() }),
  z.object({
    event: z.literal('command'),
    name: z.string(),
    request: z.string(),
    error,
    intact: z.boolean(),
  }),
  z.object({ event: z.literal('right'), case: z.string(), error }),
]);

export type ProbeEvent = z.infer<typeof event>;
export type EventOf<Name extends ProbeEvent['event']> = Extract<ProbeEvent, { event: Name }>;

export interface Observed {
  readonly events: readonly ProbeEvent[];
  /** What the kernel logged meanwhile. */
  readonly log: readonly string[];
}

/** Shell words that run the probe. @throws CheckFailure when it is not in the guest. */
export function probeWords({ programs }: ModuleSetup, ...args: (string | number)[]): string {
  const path = programs[PROBE];
  if (path === undefined) throw new CheckFailure(`the program ${PROBE} is not in the guest`);
  return [path, ...args].map((word) => quoteForShell(String(word))).join(' ');
}

/**
 * Loads the module if need be, runs the probe and returns what it observed. The probe must have come to its end.
 *
 * @throws CheckFailure when it could not observe or was ended half-way.
 */
export async function runProbe(
  context: CheckContext,
  setup: ModuleSetup,
  ...args: (string | number)[]
): Promise<Observed> {
  const { load } = moduleWords(setup);
  const { exitCode, stdout, stderr, log } = await runLogged(
    context,
    `${load}\n${probeWords(setup, ...args)}`,
  );
  const events = parseProbeLines(stdout, event);
  const blocked = events.find((e) => e.event === 'blocked');
  if (blocked !== undefined) {
    throw new CheckFailure(`the probe could not observe: ${blocked.what}: ${blocked.error}`, log.slice(-10));
  }
  if (exitCode === 0 && events[0]?.event === 'start' && events.at(-1)?.event === 'end')
    return { events, log };
  throw new CheckFailure(
    `the probe (${args.join(' ')}) did not come to its end (exit code ${exitCode})`,
    [...stdout.trimEnd().split('\n').slice(-3), stderr.trimEnd(), ...log.slice(-30)],
    'its last line tells what it was about to do when the kernel ended it',
  );
}

/** All events of one kind, in order. */
export function eventsOf<Name extends ProbeEvent['event']>(
  { events }: Pick<Observed, 'events'>,
  name: Name,
): EventOf<Name>[] {
  return events.filter((e): e is EventOf<Name> => e.event === name);
}

/** The only event of a kind. @throws CheckFailure */
export function eventOf<Name extends ProbeEvent['event']>(seen: Observed, name: Name): EventOf<Name> {
  const [found] = eventsOf(seen, name);
  if (found === undefined) throw new CheckFailure(`the probe did not report "${name}"`);
  return found;
}

/** Every process came to its end without an error and saw nothing wrong. @returns what all did together. */
export function expectProcesses(seen: Observed, processes: number, hint: string): number {
  const all = eventsOf(seen, 'process');
  expectEqual('the number of processes', all.length, processes);
  for (const { index, exited, signal, error: problem, wrong } of all) {
    if (!exited)
      throw new CheckFailure(`process ${index} was ended by signal ${signal}`, seen.log.slice(-20));
    expectErrno(`process ${index}`, problem, null);
    expectEqual(`the blocks that process ${index} read and that are wrong`, wrong, 0, hint);
  }
  return all.reduce((sum, { done }) => sum + done, 0);
}
