import type { z } from 'zod';
import { CheckFailure } from './check.js';

/**
 * What one of our probes printed in the guest, one JSON object per line. Pure.
 *
 * @param prepare changes a line's value before it is looked at.
 * @throws CheckFailure for a line that the probe cannot have printed.
 */
export function parseProbeLines<T>(
  stdout: string,
  schema: z.ZodType<T>,
  prepare?: (value: unknown) => unknown,
): T[] {
  const lines = stdout.split('\n').filter((line) => line !== '');
  return lines.map((line) => parseProbeLine(line, schema, prepare));
}

/** The same for one line. */
export function parseProbeLine<T>(
  line: string,
  schema: z.ZodType<T>,
  prepare: (value: unknown) => unknown = (value) => value,
): T {
  const parsed = schema.safeParse(prepare(parseJson(line)));
  if (parsed.success) return parsed.data;
  throw new CheckFailure('the probe printed something that it never prints', [line]);
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined; // reported with the line by the caller
  }
}
