import { z } from 'zod';
import { parseProbeLine } from '../../lab/probe-lines.js';

const reader = z.number();

/** What keyboard-probe prints, one JSON object per line; see patches/kernel-modules/guest/keyboard-probe.c. */
const event = z.discriminatedUnion('event', [
  z.object({ event: z.literal('opened'), reader, pid: z.number() }),
  z.object({ event: z.literal('bytes'), reader, at: z.number(), data: z.string().regex(/^([0-9a-f]{2})+$/) }),
  z.object({ event: z.literal('key'), reader, at: z.number(), code: z.number(), value: z.number() }),
  z.object({ event: z.literal('error'), reader, call: z.string(), error: z.string() }),
  z.object({ event: z.literal('ended'), reader }),
  z.object({
    event: z.literal('window'),
    reader,
    ms: z.number(),
    state: z.string(),
    ticks: z.number(),
    switches: z.number(),
    timers: z.number(),
  }),
]);

export type KeyboardEvent = z.infer<typeof event>;

/** Pure; throws a `CheckFailure` for a line that the probe cannot have printed. */
export function parseKeyboardEvent(line: string): KeyboardEvent {
  return parseProbeLine(line, event);
}

/** All events of one kind from one reader, in order. */
export function eventsOf<Name extends KeyboardEvent['event']>(
  events: readonly KeyboardEvent[],
  name: Name,
  index: number,
): Extract<KeyboardEvent, { event: Name }>[] {
  return events.filter(
    (e): e is Extract<KeyboardEvent, { event: Name }> => e.event === name && e.reader === index,
  );
}

/** The bytes that a reader got, all together. */
export function bytesOf(events: readonly KeyboardEvent[], index: number): Buffer {
  return Buffer.concat(eventsOf(events, 'bytes', index).map(({ data }) => Buffer.from(data, 'hex')));
}

/** What the process of a reader did in a time in which nothing happened, and the whole machine's timer interrupts. */
export type Window = Extract<KeyboardEvent, { event: 'window' }>;
