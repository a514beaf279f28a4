import { z } from 'zod';
import { LabError } from '../../../errors.js';
import type { Guest } from '../../../guest/guest.js';

/** What rng-bench prints, see patches/my-rng/guest/rng-bench.c. */
const line = z.discriminatedUnion('event', [
  z.object({ event: z.literal('blocked'), what: z.string(), error: z.string() }),
  z.object({
    event: z.literal('result'),
    mode: z.string(),
    size: z.number(),
    requests: z.number().positive(),
    bytes: z.number(),
    nanoseconds: z.number().positive(),
    typical: z.number().positive(),
    calls: z.number(),
    faults: z.number(),
    sleeps: z.number(),
    clock: z.number().default(0),
    percentiles: z
      .object({
        min: z.number(),
        p50: z.number(),
        p90: z.number(),
        p99: z.number(),
        p999: z.number(),
        max: z.number(),
      })
      .default({ min: 0, p50: 0, p90: 0, p99: 0, p999: 0, max: 0 }),
    total_requests: z.number(),
    total_bytes: z.number(),
  }),
]);

export type ProgramResult = Extract<z.infer<typeof line>, { event: 'result' }>;

/** One way of asking, as rng-bench knows it. */
export interface Request {
  readonly mode: 'ioctl32' | 'ioctl64' | 'read' | 'null';
  readonly node: string;
  /** Bytes, of a read. */
  readonly size?: number;
  /** How the driver gets the bytes of a read. */
  readonly path?: '32' | '64' | 'bulk';
}

export interface RunOptions {
  readonly seconds: number;
  readonly warmUp: number;
  /** Requests that are timed one by one. */
  readonly samples: number;
  readonly signal: AbortSignal;
}

/** A file of the guest that is locked as long as rng-bench lives: one that was interrupted takes a moment to go. */
export const BUSY = '/run/rng-bench.lock';
const PROGRAM = ['flock', '-s', BUSY, 'rng-bench'];

/** The arguments that rng-bench is called with. */
export function benchArguments(
  request: Request,
  { seconds, warmUp, samples }: Omit<RunOptions, 'signal'>,
): string[] {
  const lengths = ['-t', String(seconds), '-w', String(warmUp), '-l', String(samples)];
  return [...lengths, ...requestArguments(request)];
}

function requestArguments({ mode, node, size, path }: Request): string[] {
  return [
    ...(size === undefined || mode !== 'read' ? [] : ['-s', String(size)]),
    ...(path === undefined ? [] : ['-p', path]),
    mode,
    node,
  ];
}

/**
 * Measures one way of asking in the guest.
 *
 * @throws LabError `bench/blocked` with what it could not do, `bench/program` for an output that it never has.
 */
export async function runProgram(
  guest: Guest,
  request: Request,
  options: RunOptions,
): Promise<ProgramResult> {
  const command = [...PROGRAM, ...benchArguments(request, options)];
  const { signal, seconds, warmUp } = options;
  // a request is not interrupted half-way, and the slowest ones take a second
  const timeout = guest.timeouts.guestCommand + (2 * seconds + warmUp) * 2000;
  const { stdout, stderr, exitCode } = await guest.exec(command, { signal, timeout });
  const result = parseResult(stdout);
  if (result?.event === 'result') return result;
  const fact =
    result === undefined
      ? `rng-bench printed something that it never prints, exit code ${exitCode}`
      : `rng-bench cannot measure ${request.node}: ${result.what}: ${result.error}`;
  throw new LabError({
    code: result === undefined ? 'bench/program' : 'bench/blocked',
    blame: 'host',
    fact,
    evidence: [command.join(' '), ...stdout.split('\n').slice(-3), ...stderr.split('\n').slice(-5)].filter(
      Boolean,
    ),
    next: 'run it by hand with `lab exec`',
  });
}

/** The last line of rng-bench's output; undefined for something else. Pure. */
export function parseResult(stdout: string): z.infer<typeof line> | undefined {
  try {
    return line.safeParse(JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '')).data;
  } catch {
    return undefined;
  }
}

/** Bytes as a program in the guest gets them. */
export async function readBytes(
  guest: Guest,
  request: Request,
  count: number,
  signal: AbortSignal,
): Promise<Buffer> {
  const size = request.mode === 'ioctl32' ? 4 : request.mode === 'ioctl64' ? 8 : (request.size ?? 4096);
  const command = [...PROGRAM, '-d', '-n', String(Math.ceil(count / size)), ...requestArguments(request)];
  const { stdout } = await guest.exec(`${command.join(' ')} | base64 -w 0`, { signal, check: true });
  return Buffer.from(stdout, 'base64').subarray(0, count);
}
