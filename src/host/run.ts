import type { WriteStream } from 'node:fs';
import { execa } from 'execa';
import { Deadline } from '../deadline.js';
import { interrupted, LabError } from '../errors.js';
import { addToLeash, dropFromLeash } from './leash.js';
import { LineSplitter } from './lines.js';
import { openLog } from './log.js';

export interface RunOptions {
  readonly cwd?: string;
  /** Added to our own environment; `undefined` removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until the whole process group is killed. */
  readonly timeout: number;
  readonly input?: string | Uint8Array;
  /** File that receives the command line and all output, appended. */
  readonly log?: string;
  /** Each line of stdout and stderr as it appears, without its newline. */
  readonly onLine?: (line: string) => void;
  /** Exit codes that are not a failure; default only 0. */
  readonly accept?: readonly number[];
  /** Niceness added to the child's. */
  readonly nice?: number;
  /** Bytes of stdout and stderr together after which the group is killed. */
  readonly maxOutput?: number;
  /** How the result's output is decoded; `latin1` keeps every byte as one character. Default `utf8`. */
  readonly encoding?: 'utf8' | 'latin1';
}

export interface RunResult {
  readonly exitCode: number;
  /** At most the last 8 MiB. */
  readonly stdout: string;
  readonly stderr: string;
  /** Milliseconds. */
  readonly duration: number;
}

const KEEP = 8 * 1024 * 1024;
const TAIL = 20;

/**
 * Runs a program to its end in a process group of its own, without a shell and without a terminal.
 *
 * The whole group is killed on timeout, on abort, and when this process dies; nothing is left behind, and nobody
 * waits for grandchildren that hold the pipes.
 *
 * @throws LabError `run/missing`, `run/failed`, `run/timeout`, `run/output`, or `interrupted`; each names the command
 *   and carries its last lines and the path of its log.
 */
export async function run(file: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
  const command = [file, ...args].map(quote).join(' ');
  if (options.signal?.aborted) throw interrupted(command);
  const started = performance.now();
  const log = options.log === undefined ? undefined : openLog(options.log, 'a');
  log?.write(`$ ${command}\n`);
  try {
    const outcome = await execute(file, args, options, log);
    const duration = performance.now() - started;
    if (outcome.kind === 'missing') throw missing(file, outcome.cause);
    if (outcome.kind === 'aborted') throw interrupted(command);
    const { stdout, stderr, exitCode } = outcome;
    if (outcome.kind === 'exit' && exitCode !== undefined && (options.accept ?? [0]).includes(exitCode)) {
      return { exitCode, stdout, stderr, duration };
    }
    throw failure(command, outcome, options);
  } finally {
    await closed(log);
  }
}

interface Outcome {
  readonly kind: 'exit' | 'timeout' | 'output' | 'aborted' | 'missing';
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
  readonly tail: readonly string[];
  readonly cause?: unknown;
}

async function execute(
  file: string,
  args: readonly string[],
  options: RunOptions,
  log: WriteStream | undefined,
): Promise<Outcome> {
  const [program, argv] = options.nice ? ['nice', ['-n', String(options.nice), file, ...args]] : [file, args];
  const child = execa(program, argv, {
    detached: true,
    cleanup: false,
    buffer: false,
    reject: false,
    stripFinalNewline: false,
    encoding: 'buffer',
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: options.env as Record<string, string> }),
    stdin: options.input === undefined ? 'ignore' : 'pipe',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const tail: string[] = [];
  let room = options.maxOutput ?? Number.POSITIVE_INFINITY;
  const onBytes = (count: number) => {
    room -= count;
    if (room < 0) kill('output');
  };
  const streams = [child.stdout, child.stderr].map((stream) =>
    collect(stream, options, { log, tail, onBytes }),
  );
  if (options.input !== undefined) {
    child.stdin?.on('error', () => {}); // the program may end without reading its input; its exit code tells
    child.stdin?.end(options.input);
  }
  let kind: Outcome['kind'] = 'exit';
  const pid = child.pid;
  const kill = (why: 'timeout' | 'output' | 'aborted') => {
    if (kind !== 'exit') return;
    kind = why;
    if (pid !== undefined) killGroup(pid);
    child.stdout?.destroy();
    child.stderr?.destroy();
  };
  if (pid !== undefined) addToLeash(pid);
  const deadline = new Deadline(() => kill('timeout'), options.timeout);
  const onAbort = () => kill('aborted');
  options.signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const result = await child;
    if (pid === undefined) return { kind: 'missing', stdout: '', stderr: '', tail, cause: result.cause };
    return {
      kind,
      exitCode: result.exitCode,
      signal: result.signal,
      stdout: streams[0]?.text() ?? '',
      stderr: streams[1]?.text() ?? '',
      tail,
    };
  } finally {
    deadline.clear();
    options.signal?.removeEventListener('abort', onAbort);
    if (pid !== undefined) dropFromLeash(pid);
  }
}

function collect(
  stream: NodeJS.ReadableStream | null | undefined,
  options: RunOptions,
  to: { log: WriteStream | undefined; tail: string[]; onBytes: (count: number) => void },
): { text(): string } {
  const { log, tail } = to;
  const chunks: Buffer[] = [];
  let size = 0;
  const lines = new LineSplitter((line) => {
    tail.push(line);
    if (tail.length > TAIL) tail.shift();
    options.onLine?.(line);
  });
  stream?.on('data', (chunk: Buffer) => {
    to.onBytes(chunk.length);
    log?.write(chunk);
    lines.push(chunk);
    chunks.push(chunk);
    size += chunk.length;
    while (size > KEEP && chunks.length > 1) size -= chunks.shift()?.length ?? 0;
  });
  stream?.on('end', () => lines.end());
  return { text: () => Buffer.concat(chunks).toString(options.encoding ?? 'utf8') };
}

/** SIGKILL to a process group; one that is gone already is fine. */
export function killGroup(pgid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
  try {
    process.kill(-pgid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function missing(file: string, cause: unknown): LabError {
  return new LabError({
    code: 'run/missing',
    blame: 'host',
    fact: `the program ${file} could not be started`,
    evidence: cause instanceof Error ? [cause.message.split('\n')[0] ?? ''] : [],
    next: '`lab doctor` names the package that holds it; `lab doctor --fix` installs it',
    cause,
  });
}

function failure(command: string, outcome: Outcome, options: RunOptions): LabError {
  const how =
    outcome.kind === 'timeout'
      ? `did not end within ${(options.timeout / 1000).toFixed(0)} s and was killed`
      : outcome.kind === 'output'
        ? `printed more than ${options.maxOutput} bytes and was killed`
        : outcome.signal !== undefined
          ? `was killed by ${outcome.signal}`
          : `failed with exit code ${outcome.exitCode}`;
  return new LabError({
    code: outcome.kind === 'exit' ? 'run/failed' : `run/${outcome.kind}`,
    blame: 'host',
    fact: `${shorten(command)} ${how}`,
    evidence: outcome.tail,
    log: options.log,
    next: options.log === undefined ? 'run the command by hand to see more' : 'read the log',
  });
}

function shorten(command: string): string {
  return command.length <= 200 ? command : `${command.slice(0, 197)}...`;
}

/** For display and logs only; nothing is ever run through a shell. */
export function quote(arg: string): string {
  return /^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", `'\\''`)}'`;
}

function closed(log: WriteStream | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (log === undefined) resolve();
    else log.end(resolve);
  });
}
