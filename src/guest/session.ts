import { randomBytes } from 'node:crypto';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import type { ClientChannel, PseudoTtyOptions } from 'ssh2';
import { LabError } from '../errors.js';
import type { Connection } from './connection.js';
import { Stop } from './stop.js';

/** How a command ended. Killed by a signal: its name, and 128 plus its number as the exit code, as a shell has it. */
export interface Ended {
  readonly exitCode: number;
  readonly signal?: string;
}

/**
 * One command in the guest as streams. Both outputs must be read to their end, else `ended` never settles.
 * Ends with the connection; `abandon()` frees it earlier.
 */
export class Session {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Settles when the command has ended and all output was read; rejects with `guest/lost`. Never "unhandled". */
  readonly ended: Promise<Ended>;
  readonly #channel: ClientChannel;
  readonly #connection: Connection;
  readonly #kill: (signal: string) => Promise<void>;
  #exit: Ended | undefined;

  /** @param kill sends a signal to everything that the command started */
  constructor(connection: Connection, channel: ClientChannel, kill: (signal: string) => Promise<void>) {
    this.#connection = connection;
    this.#channel = channel;
    this.#kill = kill;
    this.stdin = channel;
    this.stdout = channel;
    this.stderr = channel.stderr;
    channel.on('error', () => {}); // a write after the end: the exit code tells more
    channel.on('exit', (code: number | null, signal?: string) => {
      this.#exit = endOf(code, signal);
    });
    this.ended = Promise.all([once(channel, 'close'), once(channel.stderr, 'end')]).then(() => {
      if (connection.death.aborted) throw connection.death.reason;
      if (this.#exit === undefined) throw noStatus();
      return this.#exit;
    });
    this.ended.catch(() => {});
  }

  /** Known as soon as the guest reports it, which may be long before something it left behind closes its output. */
  get exit(): Ended | undefined {
    return this.#exit;
  }

  /** Sends a signal, e.g. `TERM`, to the command and everything it started. */
  async kill(signal: string): Promise<void> {
    await this.#kill(signal);
  }

  /** Closes the session and kills the command, without waiting; what it still prints is thrown away. */
  abandon(): void {
    this.hangUp();
    this.#kill('KILL').catch(() => {}); // a guest that cannot do that either is hung; its console tells
  }

  /** Closes the session without waiting: the command finds its input ended, and may tidy up. */
  hangUp(): void {
    if (!this.#connection.death.aborted) this.#channel.close();
    this.stdout.resume();
    this.stderr.resume();
  }

  /** Tells the terminal of the session its new size. */
  resize(rows: number, cols: number): void {
    this.#channel.setWindow(rows, cols, 0, 0);
  }
}

/** OpenSSH's server allows ten at once on one connection (`MaxSessions`); one is kept for `kill`, the others queue. */
const SESSIONS = 9;

/** Opens sessions on a connection, no more at once than the server allows. */
export class Sessions {
  readonly #connection: Connection;
  readonly #waiting: (() => void)[] = [];
  #free = SESSIONS;
  #killing: Promise<unknown> = Promise.resolve();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * @param command absent: the login shell
   * @param pty the terminal to give the command, if any
   * @throws LabError `guest/channel` when the guest refuses; the reason of `stop`.
   */
  async open(command: string | undefined, stop: Stop, pty?: PseudoTtyOptions): Promise<Session> {
    const release = await this.#slot(stop);
    try {
      return await stop.race(this.#start(command, stop, pty, release));
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Settles when all signals sent so far have arrived, or cannot any more. */
  async settled(): Promise<void> {
    await this.#killing;
  }

  /**
   * Through a session of its own, one after the other: sshd refuses the protocol's way when root is logged in, and
   * dropbear then reaches the shell alone.
   */
  #kill(mark: string, signal: string): Promise<void> {
    const killing = this.#killing.then(() => this.#runKill(mark, signal));
    this.#killing = killing.catch(() => {});
    return killing;
  }

  async #runKill(mark: string, signal: string): Promise<void> {
    const { death, options } = this.#connection;
    const what = `sending ${signal} to a command in the guest`;
    const timeout = options.timeouts.guestCommand;
    using stop = new Stop({ what, timeout, onTimeout: () => noKill(what, timeout), death });
    const killer = await stop.race(this.#start(killScript(mark, signal), stop, undefined, () => {}));
    killer.stdin.end();
    killer.stdout.resume();
    killer.stderr.resume();
    await stop.race(killer.ended);
  }

  async #slot(stop: Stop): Promise<() => void> {
    if (this.#free > 0) this.#free -= 1;
    else await this.#turn(stop);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    };
  }

  async #turn(stop: Stop): Promise<void> {
    let mine = () => {};
    const turn = new Promise<void>((resolve) => {
      mine = resolve;
      this.#waiting.push(resolve);
    });
    try {
      await stop.race(turn);
    } catch (error) {
      const place = this.#waiting.indexOf(mine);
      if (place >= 0) this.#waiting.splice(place, 1);
      throw error;
    }
  }

  /** The session is made inside ssh2's callback: the exit code may come in the very packet that confirmed the start. */
  #start(
    command: string | undefined,
    stop: Stop,
    pty: PseudoTtyOptions | undefined,
    release: () => void,
  ): Promise<Session> {
    const { client } = this.#connection;
    const mark = randomBytes(6).toString('hex');
    return new Promise((resolve, reject) => {
      const opened = (error: Error | undefined, channel: ClientChannel) => {
        if (error) return reject(this.#connection.whyOver() ?? refused(command, error));
        channel.once('close', release);
        const session = new Session(this.#connection, channel, (signal) => this.#kill(mark, signal));
        if (stop.signal.aborted) session.abandon();
        resolve(session);
      };
      try {
        if (command === undefined) client.shell(pty ?? false, {}, opened);
        else client.exec(`export ${MARK}=${mark}\n${command}`, pty === undefined ? {} : { pty }, opened);
      } catch (error) {
        reject(this.#connection.whyOver() ?? refused(command, error));
      }
    });
  }
}

function once(emitter: NodeJS.EventEmitter, event: string): Promise<void> {
  return new Promise((resolve) => emitter.once(event, () => resolve()));
}

function endOf(code: number | null, signal: string | undefined): Ended {
  if (code !== null || signal === undefined) return { exitCode: code ?? 255 };
  return { exitCode: 128 + (constants.signals[signal as NodeJS.Signals] ?? 127), signal };
}

/** Environment variable by which everything that a command started is known: it has no process id for us. */
const MARK = 'LAB_COMMAND';

/**
 * The mark stands in the command line of the shell and in the environment of its children; each is taken with its
 * whole process group. The brackets keep grep from finding itself.
 */
function killScript(mark: string, signal: string): string {
  return `done=
for f in $(grep -ls '[${MARK[0]}]${MARK.slice(1)}=${mark}' /proc/[0-9]*/cmdline /proc/[0-9]*/environ); do
  read -r s 2>/dev/null < "\${f%/*}/stat" || continue
  set -- \${s##*) }
  case " $done " in *" $3 "*) continue ;; esac
  done="$done $3"
  kill -${signal.replace(/[^A-Z0-9]/g, '')} "-$3"
done`;
}

function noKill(what: string, timeout: number): LabError {
  return new LabError({
    code: 'guest/timeout',
    blame: 'host',
    fact: `${what} took longer than ${(timeout / 1000).toFixed(0)} s`,
    next: 'look at the console for an oops or a hang: `lab logs`',
  });
}

function refused(command: string | undefined, cause: unknown): LabError {
  return new LabError({
    code: 'guest/channel',
    blame: 'host',
    fact: `the guest's SSH server did not start ${command === undefined ? 'a shell' : 'the command'}`,
    evidence: [cause instanceof Error ? cause.message : String(cause), (command ?? '').slice(0, 200)],
    next: 'look at its log in the guest; it may be out of processes or memory',
    cause,
  });
}

function noStatus(): LabError {
  return new LabError({
    code: 'guest/lost',
    blame: 'host',
    fact: 'the guest closed the session of a command without saying how it ended',
    next: 'look at the console: its SSH server may have been killed',
  });
}
