import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import type { ClientChannel, PseudoTtyOptions } from 'ssh2';
import { LabError } from '../errors.js';
import type { Connection } from './connection.js';
import type { Stop } from './stop.js';

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
  #exit: Ended | undefined;

  constructor(connection: Connection, channel: ClientChannel) {
    this.#connection = connection;
    this.#channel = channel;
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

  /** Sends a signal, e.g. `TERM`, to the command's process group (OpenSSH) or process (dropbear). */
  kill(signal: string): void {
    sendSignal(this.#channel, signal);
  }

  /** Kills the command and closes the session without waiting; what it still prints is thrown away. */
  abandon(): void {
    if (!this.#connection.death.aborted) this.kill('KILL');
    this.hangUp();
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

/** What OpenSSH's server allows at once on one connection (`MaxSessions`); further commands wait for a free one. */
const SESSIONS = 10;

/** Opens sessions on a connection, no more at once than the server allows. */
export class Sessions {
  readonly #connection: Connection;
  readonly #waiting: (() => void)[] = [];
  #free = SESSIONS;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
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
    return new Promise((resolve, reject) => {
      const opened = (error: Error | undefined, channel: ClientChannel) => {
        if (error) return reject(this.#connection.whyOver() ?? refused(command, error));
        channel.once('close', release);
        const session = new Session(this.#connection, channel);
        if (stop.signal.aborted) session.abandon();
        resolve(session);
      };
      try {
        if (command === undefined) client.shell(pty ?? false, {}, opened);
        else client.exec(command, pty === undefined ? {} : { pty }, opened);
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

/** ssh2's own `signal()` does nothing once our end of the input is closed, which is the usual case for a command. */
function sendSignal(channel: ClientChannel, signal: string): void {
  const { _client: client, outgoing } = channel as unknown as {
    _client: { _protocol: { signal(id: number, name: string): void } };
    outgoing: { id: number; state: string };
  };
  if (outgoing.state === 'open' || outgoing.state === 'eof') client._protocol.signal(outgoing.id, signal);
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
