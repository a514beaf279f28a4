import { z } from 'zod';
import { type CheckContext, CheckFailure } from '../../lab/check.js';
import type { ModuleSetup } from '../../lab/module-checks.js';
import { parseProbeLines } from '../../lab/probe-lines.js';
import { type Logged, runLogged } from '../../lab/run-logged.js';

const error = z.string().nullable();

/** What ioctl-probe prints, one JSON object per line; see patches/kernel-modules/guest/ioctl-probe.c. */
const event = z.discriminatedUnion('event', [
  z.object({ event: z.literal('start'), subcommand: z.string() }),
  z.object({ event: z.literal('end'), status: z.number() }),
  z.object({ event: z.literal('blocked'), what: z.string(), error }),
  z.object({ event: z.literal('opened') }),
  z.object({ event: z.literal('trying'), name: z.string() }),
  z.object({ event: z.literal('tried'), name: z.string(), error }),
]);

export type IoctlEvent = z.infer<typeof event>;

/** One call that came back: its name, and the name of its errno value, or null when it succeeded. */
export interface Tried {
  readonly name: string;
  readonly error: string | null;
}

/** What the probe saw, and what the kernel logged meanwhile. */
export interface Observed {
  readonly tried: readonly Tried[];
  readonly log: readonly string[];
}

/**
 * Runs the probe to its end.
 *
 * @param args its command line, from options to both fields
 * @throws CheckFailure when it could not observe, or was ended half-way.
 */
export async function runIoctlProbe(
  context: CheckContext,
  setup: ModuleSetup,
  args: readonly (string | number)[],
): Promise<Observed> {
  const result = await runLogged(context, ['exec', setup.programs['ioctl-probe'], ...args].join(' '));
  return { tried: readProbe(result), log: result.log };
}

/** Pure. @throws CheckFailure when the probe could not observe, or was ended half-way. */
export function readProbe({ stdout, stderr, exitCode, log }: Logged): Tried[] {
  const events = parseEvents(stdout);
  const blocked = events.find((e) => e.event === 'blocked');
  if (blocked !== undefined) {
    const fact =
      blocked.what === 'open'
        ? `/proc/ioctl_test does not open: ${blocked.error}`
        : `the probe could not observe: ${blocked.what}: ${blocked.error}`;
    throw new CheckFailure(fact, log.slice(-10));
  }
  if (events.at(-1)?.event === 'end') return events.filter((e) => e.event === 'tried');
  const last = events.findLast((e) => e.event === 'trying');
  throw new CheckFailure(
    `the kernel ended the program that made the call "${last?.name ?? 'open'}"`,
    [`exit code ${exitCode}`, ...stderr.trimEnd().split('\n'), ...log.slice(-30)],
    'a user address is only read with copy_from_user',
  );
}

/** Pure; throws a `CheckFailure` for a line that the probe cannot have printed. */
export function parseEvents(stdout: string): IoctlEvent[] {
  return parseProbeLines(stdout, event);
}
