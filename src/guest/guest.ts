import { type Blame, LabError } from '../errors.js';
import type { Timeouts } from '../timeouts.js';
import { type Command, describeCommand, shellText } from './command.js';
import { Connection, type ConnectOptions } from './connection.js';
import { drain, LastLines, Tail } from './output.js';
import { GuestProcess } from './process.js';
import { dialWhenReady, type ReadyOptions } from './ready.js';
import { type Ended, type Session, Sessions } from './session.js';
import { runShell, type ShellOptions } from './shell.js';
import { Stop } from './stop.js';
import { type EndOfCommand, record, type Transcript } from './transcript.js';

export interface ExecOptions {
  /** What the command reads; nothing when absent. */
  readonly input?: string | Uint8Array;
  /** Milliseconds until it is killed; default `timeouts.guestCommand`. */
  readonly timeout?: number;
  readonly signal?: AbortSignal | undefined;
  /** Each line as it appears, without its newline. Must not throw. */
  readonly onLine?: (line: string, from: 'stdout' | 'stderr') => void;
  /** Bytes kept of each output, its last ones; default 8 MiB. */
  readonly maxOutput?: number;
  /** Throw unless the exit code is in `accept`. */
  readonly check?: boolean;
  /** With `check`: exit codes that are no failure; default only 0. */
  readonly accept?: readonly number[];
  /** Whom the errors of `check` and of the deadline charge; default `host`. */
  readonly blame?: Blame;
}

export interface ExecResult extends Ended {
  /** UTF-8; the last `maxOutput` bytes. */
  readonly stdout: string;
  readonly stderr: string;
  /** Bytes of both that were not kept. */
  readonly dropped: number;
  /** Milliseconds. */
  readonly duration: number;
}

export interface SpawnOptions {
  readonly signal?: AbortSignal | undefined;
}

const KEEP = 8 * 1024 * 1024;

/** The operating system inside a machine, reached over SSH. The owner closes it; whatever still runs then is cut off. */
export class Guest implements AsyncDisposable {
  readonly timeouts: Timeouts;
  readonly transcript: Transcript | undefined;
  readonly #connection: Connection;
  readonly #sessions: Sessions;
  #ids = 0;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#sessions = new Sessions(connection);
    this.timeouts = connection.options.timeouts;
    this.transcript = connection.options.transcript;
  }

  /** One attempt; see `Connection.open` for its errors, and `connectWhenReady` for a guest that still boots. */
  static async connect(options: ConnectOptions): Promise<Guest> {
    return new Guest(await Connection.open(options));
  }

  /** Aborts, with a `LabError`, as soon as the connection is over for any reason. */
  get death(): AbortSignal {
    return this.#connection.death;
  }

  /**
   * Runs a command to its end. A nonzero exit is data unless `check` is set. Several may run at once.
   *
   * @throws LabError `guest/timeout` and `guest/command` (evidence: the last lines), `guest/lost`, `guest/closed`,
   *   `guest/channel`, `guest/argument`, `interrupted`, or the reason of `fatal` given when connecting.
   */
  async exec(command: Command, options: ExecOptions = {}): Promise<ExecResult> {
    const timeout = options.timeout ?? this.timeouts.guestCommand;
    const last = new LastLines();
    let session: Session | undefined;
    using stop = new Stop({
      what: describeCommand(command),
      timeout,
      onTimeout: () => timedOut(command, timeout, last.lines, session, options.blame),
      signal: options.signal,
      death: this.death,
    });
    const result = await this.#recorded(command, async () => {
      session = await this.#sessions.open(shellText(command), stop);
      stop.touch(); // waiting for a free session is not the command's time
      return await collect(session, stop, options, last);
    });
    const good = options.accept ?? [0];
    if (options.check && !good.includes(result.exitCode))
      throw failed(command, result, last.lines, options.blame);
    return result;
  }

  /** Starts a command that runs until it ends, is killed, or the returned process is disposed. */
  async spawn(command: Command, options: SpawnOptions = {}): Promise<GuestProcess> {
    return new GuestProcess(await this.session(command, options), this.death, describeCommand(command));
  }

  /** A command as raw streams; the caller reads both outputs to their end or calls `abandon()`. */
  async session(command: Command, { signal }: SpawnOptions = {}): Promise<Session> {
    const timeout = this.timeouts.guestCommand;
    using stop = new Stop({
      what: describeCommand(command),
      timeout,
      onTimeout: () => timedOut(command, timeout, [], undefined, undefined),
      signal,
      death: this.death,
    });
    const id = ++this.#ids;
    record(this.transcript, { type: 'start', id, command: shellText(command) });
    const started = performance.now();
    const session = await this.#sessions.open(shellText(command), stop);
    const end = (how: EndOfCommand) =>
      record(this.transcript, { type: 'end', id, duration: since(started), ...how });
    session.ended.then(end, (error: LabError) => end({ code: error.code, fact: error.message }));
    return session;
  }

  /** An interactive shell, or `options.command`, on a terminal. Returns its exit code. */
  async shell(options: ShellOptions): Promise<number> {
    const what = options.command === undefined ? 'a shell' : describeCommand(options.command);
    return await this.#recorded(options.command ?? '', async () => {
      const timeout = this.timeouts.guestCommand;
      const { signal } = options;
      using opening = new Stop({
        what,
        timeout,
        onTimeout: () => timedOut(what, timeout, [], undefined, undefined),
        signal,
        death: this.death,
      });
      const { rows, cols, term = 'xterm-256color' } = options;
      const text = options.command === undefined ? undefined : shellText(options.command);
      const session = await this.#sessions.open(text, opening, { rows, cols, term });
      return await runShell(session, options, this.death);
    }).then(({ exitCode }) => exitCode);
  }

  /** Lets the kills of abandoned commands arrive first, for a second at most. */
  async close(): Promise<void> {
    const timeout = this.timeouts.sshConnect / 15;
    using stop = new Stop({ what: 'closing', timeout, onTimeout: tooLate, death: this.death });
    await stop.race(this.#sessions.settled()).catch(() => {});
    await this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #recorded<T extends Ended & { stdout?: string; stderr?: string }>(
    command: Command,
    body: () => Promise<T>,
  ): Promise<T> {
    const id = ++this.#ids;
    const started = performance.now();
    record(this.transcript, { type: 'start', id, command: shellText(command) });
    const end = (how: EndOfCommand) =>
      record(this.transcript, { type: 'end', id, duration: since(started), ...how });
    try {
      const result = await body();
      const { exitCode, signal, stdout = '', stderr = '' } = result;
      end({
        exitCode,
        ...(signal === undefined ? {} : { signal }),
        stdout: stdout.slice(-4096),
        stderr: stderr.slice(-4096),
      });
      return result;
    } catch (error) {
      const { code, message } = error as LabError;
      end({ code, fact: message });
      throw error;
    }
  }
}

/** A guest that may still be booting; see `dialWhenReady` for how it is waited for and how that fails. */
export async function connectWhenReady(options: ReadyOptions): Promise<Guest> {
  return new Guest(await dialWhenReady(options));
}

async function collect(
  session: Session,
  stop: Stop,
  options: ExecOptions,
  last: LastLines,
): Promise<ExecResult> {
  const started = performance.now();
  const limit = options.maxOutput ?? KEEP;
  const stdout = new Tail(limit);
  const stderr = new Tail(limit);
  const onLine = (from: 'stdout' | 'stderr') => (line: string) => {
    last.push(line);
    options.onLine?.(line, from);
  };
  drain(session.stdout, stdout, onLine('stdout'));
  drain(session.stderr, stderr, onLine('stderr'));
  if (options.input === undefined) session.stdin.end();
  else session.stdin.end(options.input);
  try {
    const ended = await stop.race(session.ended);
    const dropped = stdout.dropped + stderr.dropped;
    return { ...ended, stdout: stdout.text(), stderr: stderr.text(), dropped, duration: since(started) };
  } catch (error) {
    session.abandon();
    throw error;
  }
}

function tooLate(): LabError {
  return new LabError({
    code: 'guest/timeout',
    blame: 'host',
    fact: 'the guest is slow to kill a command',
    next: 'wait',
  });
}

function timedOut(
  command: Command,
  timeout: number,
  lines: readonly string[],
  session: Session | undefined,
  blame: Blame = 'host',
): LabError {
  const limit = `${(timeout / 1000).toFixed(timeout < 10_000 ? 1 : 0)} s`;
  const how =
    session === undefined
      ? `was not started by the guest within ${limit}`
      : session.exit === undefined
        ? `did not end within ${limit} and was killed`
        : `ended with code ${session.exit.exitCode}, but what it left running held its output open for ${limit}`;
  return new LabError({
    code: 'guest/timeout',
    blame,
    fact: `${describeCommand(command)} ${how}`,
    evidence: [...lines],
    next: 'look at the console for an oops or a hang: `lab logs`',
  });
}

function failed(
  command: Command,
  result: ExecResult,
  lines: readonly string[],
  blame: Blame = 'host',
): LabError {
  const how = result.signal === undefined ? `exit code ${result.exitCode}` : result.signal;
  return new LabError({
    code: 'guest/command',
    blame,
    fact: `${describeCommand(command)} failed in the guest with ${how}`,
    evidence: [...lines],
    next: 'run it by hand: `lab ssh`',
  });
}

function since(started: number): number {
  return Math.round(performance.now() - started);
}
