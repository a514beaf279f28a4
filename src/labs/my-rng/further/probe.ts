import { z } from 'zod';
import { quoteForShell } from '../../../guest/command.js';
import { type CheckContext, CheckFailure, expectErrno } from '../../../lab/check.js';
import { parseProbeLine, parseProbeLines } from '../../../lab/probe-lines.js';

export const PROBE = 'my-rng-further-probe';

/** How `read()` gets its bytes; the values are those of `MY_RNG_PATH_*` in my-rng.h. */
export const PATHS = { auto: 0, narrow: 1, wide: 2, bulk: 3 } as const;
export type PathName = keyof typeof PATHS;

const error = z.string().nullable();

/** What the probe prints, one JSON object per line; see patches/my-rng/guest/my-rng-further-probe.c. */
const event = z.discriminatedUnion('event', [
  z.object({ event: z.literal('start'), subcommand: z.string() }),
  z.object({ event: z.literal('end'), status: z.number() }),
  z.object({ event: z.literal('blocked'), what: z.string(), error }),
  z.object({ event: z.literal('call'), name: z.string(), result: z.number(), error }),
  z.object({ event: z.literal('number'), value: z.number() }),
  z.object({ event: z.literal('trying'), name: z.string() }),
]);

export type FurtherEvent = z.infer<typeof event>;
export type Call = Extract<FurtherEvent, { event: 'call' }>;

/** Pure. One line of the probe. @throws CheckFailure */
export function furtherEvent(line: string): FurtherEvent {
  return parseProbeLine(line, event);
}

/** What one run of the probe saw. */
export interface Seen {
  readonly events: readonly FurtherEvent[];
  /** What the script after it printed. */
  readonly rest: string;
}

/**
 * Runs the probe in the guest, and shell commands after it.
 *
 * @param then commands that look at what it left.
 * @throws CheckFailure when it could not observe or did not come to its end.
 */
export async function runFurther(
  { guest, signal }: CheckContext,
  words: readonly (string | number)[],
  then = '',
): Promise<Seen> {
  const command = [PROBE, ...words].map((word) => quoteForShell(String(word))).join(' ');
  const script = `cd /tmp\n${command}\ncode=$?\necho\n${then}\nexit $code`;
  const { exitCode, stdout, stderr } = await guest.exec(script, { signal, blame: 'submission' });
  const [printed = '', rest = ''] = stdout.split(/\n\n([\s\S]*)/);
  const events = parseProbeLines(printed, event);
  const blocked = events.find((each) => each.event === 'blocked');
  if (blocked !== undefined)
    throw new CheckFailure(`the probe could not observe: ${blocked.what}: ${blocked.error}`);
  if (exitCode === 0 && events.at(-1)?.event === 'end') return { events, rest };
  throw new CheckFailure(
    `the probe (${words.join(' ')}) did not come to its end (exit code ${exitCode})`,
    [...printed.split('\n').slice(-3), ...stderr.trimEnd().split('\n')],
    'its last line tells what it was about to do when the kernel ended it',
  );
}

/** All calls of that name, in order. */
export function callsOf(events: readonly FurtherEvent[], name: string): Call[] {
  return events.filter((each): each is Call => each.event === 'call' && each.name === name);
}

/** The result of the only call of that name, which succeeded. @throws CheckFailure */
export function resultOf(events: readonly FurtherEvent[], name: string): number {
  const [call] = callsOf(events, name);
  if (call === undefined) throw new CheckFailure(`the probe did not report "${name}"`);
  expectErrno(`"${name}"`, call.error, null);
  return call.result;
}

/** The numbers that were printed. */
export function numbersOf(events: readonly FurtherEvent[]): number[] {
  return events.flatMap((each) => (each.event === 'number' ? [each.value] : []));
}
