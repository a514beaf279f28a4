import { z } from 'zod';
import { type CheckContext, CheckFailure } from '../../lab/check.js';
import { parseProbeLines } from '../../lab/probe-lines.js';

const error = z.string().nullable();

/** What my-rng-probe prints, one JSON object per line; see patches/my-rng/guest/my-rng-probe.c. */
const event = z.discriminatedUnion('event', [
  z.object({ event: z.literal('start'), subcommand: z.string() }),
  z.object({ event: z.literal('end'), status: z.number() }),
  z.object({ event: z.literal('blocked'), what: z.string(), error }),
  z.object({ event: z.literal('seed'), seed: z.number(), error }),
  z.object({ event: z.literal('numbers'), error, numbers: z.array(z.number()) }),
  z.object({ event: z.literal('trying'), command: z.string(), case: z.string(), address: z.string() }),
  z.object({ event: z.literal('tried'), command: z.string(), case: z.string(), address: z.string(), error }),
  z.object({ event: z.literal('read-only-page'), intact: z.boolean() }),
  z.object({
    event: z.literal('edge'),
    command: z.literal('get'),
    case: z.string(),
    error,
    value: z.number(),
    before_intact: z.boolean(),
    after_intact: z.boolean(),
  }),
  z.object({
    event: z.literal('edge-seed'),
    case: z.string(),
    seed: z.number(),
    error,
    intact: z.boolean(),
    next: z.number(),
    next_error: error,
  }),
  z.object({
    event: z.literal('command'),
    name: z.string(),
    request: z.string(),
    error,
    intact: z.boolean(),
  }),
  z.object({ event: z.literal('open-close'), done: z.number(), error }),
  z.object({ event: z.literal('held-open'), done: z.number(), error }),
  z.object({
    event: z.literal('process'),
    index: z.number(),
    exited: z.boolean(),
    signal: z.number(),
    error,
    numbers: z.array(z.number()),
  }),
]);

export type ProbeEvent = z.infer<typeof event>;
export type EventOf<Name extends ProbeEvent['event']> = Extract<ProbeEvent, { event: Name }>;

/** Where the probe is in the guest, and the node that it opens. */
export interface ProbePlace {
  readonly program: string;
  /** Default: that of the exercise. */
  readonly node?: string;
}

/** The probe, or another process that met the driver, was ended before its time, by the kernel or by a signal. */
export class ProbeCut extends CheckFailure {
  /** What it observed until then. */
  readonly events: readonly ProbeEvent[];

  constructor(fact: string, evidence: readonly string[], events: readonly ProbeEvent[] = [], hint?: string) {
    super(fact, evidence, hint);
    this.events = events;
  }
}

/**
 * Runs the probe in the guest and returns what it observed. The probe must have come to its end.
 *
 * @throws CheckFailure when it could not observe; `ProbeCut` when it was ended half-way.
 */
export async function runProbe(context: CheckContext, ...args: (string | number)[]): Promise<ProbeEvent[]> {
  return await runProbeAt({ program: 'my-rng-probe' }, context, args);
}

/** The same for a probe at another place; `timeout` in milliseconds, default `timeouts.guestCommand`. */
export async function runProbeAt(
  { program, node }: ProbePlace,
  { guest, signal, timeouts }: CheckContext,
  args: readonly (string | number)[],
  timeout = timeouts.guestCommand,
): Promise<ProbeEvent[]> {
  const command = [program, ...(node === undefined ? [] : ['-d', node]), ...args.map(String)];
  const result = await guest.exec(command, { signal, timeout, blame: 'submission' });
  const events = parseEvents(result.stdout);
  const blocked = events.find((e) => e.event === 'blocked');
  if (blocked !== undefined) {
    const hint =
      blocked.what === 'open' ? 'the driver is not loaded, or the node has another major number' : undefined;
    throw new CheckFailure(`the probe could not observe: ${blocked.what}: ${blocked.error}`, [], hint);
  }
  const whole = events[0]?.event === 'start' && events.at(-1)?.event === 'end';
  if (whole && result.exitCode === 0) return events;
  const how = result.signal === undefined ? `exit code ${result.exitCode}` : `killed by ${result.signal}`;
  throw new ProbeCut(
    `the probe (${args.join(' ')}) did not come to its end (${how})`,
    [...result.stdout.trimEnd().split('\n').slice(-3), ...result.stderr.trimEnd().split('\n')],
    events,
    'the last line tells what it was about to do when the kernel ended it',
  );
}

/** Pure; throws a `CheckFailure` for a line that the probe cannot have printed. */
export function parseEvents(stdout: string): ProbeEvent[] {
  return parseProbeLines(stdout, event, nameEdge);
}

/** `edge` lines come in two shapes; the one of the seed command gets a name of its own. */
function nameEdge(value: unknown): unknown {
  const { event: name, command } = (value ?? {}) as { event?: string; command?: string };
  return name === 'edge' && command === 'seed' ? { ...(value as object), event: 'edge-seed' } : value;
}

/** All events of one kind, in order. */
export function eventsOf<Name extends ProbeEvent['event']>(
  events: readonly ProbeEvent[],
  name: Name,
): EventOf<Name>[] {
  return events.filter((e): e is EventOf<Name> => e.event === name);
}

/** The numbers of the n-th `numbers` event; a read that failed is a failure of the driver. */
export function numbersOf(events: readonly ProbeEvent[], index = 0): number[] {
  const found = eventsOf(events, 'numbers')[index];
  if (found === undefined) throw new CheckFailure('the probe reported no numbers');
  if (found.error !== null) throw new CheckFailure(`reading a number failed with ${found.error}`);
  return found.numbers;
}

/** Fails unless every `seed` event succeeded. */
export function expectSeeded(events: readonly ProbeEvent[]): void {
  for (const { seed, error: problem } of eventsOf(events, 'seed')) {
    if (problem !== null) throw new CheckFailure(`seeding with ${seed} failed with ${problem}`);
  }
}
