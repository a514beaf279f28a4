import type { Duplex } from 'node:stream';
import { type Blame, interrupted, LabError } from '../errors.js';
import type { Timeouts } from '../timeouts.js';
import { openWait, type Wait } from '../waits.js';
import { type ChannelLog, LineChannel } from './line-channel.js';
import type { CommandName, Commands, Greeting, QmpEvent } from './types.js';

export interface MonitorOptions {
  readonly timeouts: Timeouts;
  /** Ends the attach; later commands take their own. */
  readonly signal?: AbortSignal | undefined;
  readonly log?: ChannelLog | undefined;
  /** Whom a QEMU that dies or hangs is charged to; default `host`. */
  readonly blame?: Blame;
}

export interface CallOptions {
  /** Milliseconds; default `timeouts.qmpCommand`. */
  readonly timeout?: number;
  readonly signal?: AbortSignal | undefined;
}

type Listener = (event: QmpEvent) => void;

interface Pending {
  readonly command: string;
  readonly wait: Wait<unknown>;
}

/** Longest message QEMU may send; the largest known reply (`query-qmp-schema`) has about 250 KiB. */
const LONGEST = 16 * 1024 * 1024;
const ID = 'lab-';

/**
 * QMP client over any byte stream. Reads from the first moment, so no event is missed between attach and the first
 * command. It owns the stream: `close` destroys it, and QEMU's end of it ends the monitor.
 *
 * Every failure is a LabError: `monitor/closed`, `monitor/timeout`, `monitor/command` (QEMU refused; class and
 * description in the evidence), `monitor/protocol` (the peer is no QMP server), `interrupted`.
 */
export class Monitor implements AsyncDisposable {
  /** What QEMU said of itself. */
  readonly greeting: Greeting;
  readonly #options: MonitorOptions;
  readonly #channel: LineChannel;
  readonly #pending = new Map<string, Pending>();
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #waiters = new Set<Wait<QmpEvent>>();
  readonly #whenClosed: Promise<LabError>;
  #markClosed: (reason: LabError) => void = () => {};
  #closed: LabError | undefined;
  #issued = 0;

  /** Waits for the greeting and negotiates; on failure the stream is destroyed. */
  static async attach(stream: Duplex, options: MonitorOptions): Promise<Monitor> {
    const { signal, timeouts } = options;
    let monitor: Monitor | undefined;
    const early: string[] = [];
    const greeted = openWait<Greeting>({
      what: "QEMU's QMP greeting",
      timeout: timeouts.qmpGreeting,
      signal,
      onTimeout: () => timedOut("QEMU's QMP greeting", timeouts.qmpGreeting, options.blame),
    });
    const channel = new LineChannel(stream, {
      log: options.log,
      longest: LONGEST,
      onLine: (line) => {
        if (monitor !== undefined) monitor.#receive(line);
        else if (greeted.done) early.push(line);
        else greeted.resolve(readGreeting(line));
      },
      onEnd: (reason) => {
        const error = asClosed(reason, options.blame);
        greeted.reject(error);
        if (monitor !== undefined) monitor.#end(error);
      },
    });
    try {
      const greeting = await greeted.promise;
      monitor = new Monitor(greeting, channel, options);
      for (const line of early) monitor.#receive(line);
      await monitor.execute('qmp_capabilities', {}, signal === undefined ? {} : { signal });
      return monitor;
    } catch (error) {
      channel.end(undefined);
      throw error;
    }
  }

  private constructor(greeting: Greeting, channel: LineChannel, options: MonitorOptions) {
    this.greeting = greeting;
    this.#channel = channel;
    this.#options = options;
    this.#whenClosed = new Promise((resolve) => {
      this.#markClosed = resolve;
    });
  }

  /** Resolves, never rejects, with the reason when the monitor has ended. */
  get closed(): Promise<LabError> {
    return this.#whenClosed;
  }

  /** Sends one command and gives its result. Commands may overlap; QEMU answers them in order. */
  execute<C extends CommandName>(
    command: C,
    args?: Commands[C]['args'],
    options?: CallOptions,
  ): Promise<Commands[C]['result']>;
  execute<T = unknown>(
    command: string,
    args?: Readonly<Record<string, unknown>>,
    options?: CallOptions,
  ): Promise<T>;
  execute(
    command: string,
    args: Readonly<Record<string, unknown>> = {},
    options: CallOptions = {},
  ): Promise<unknown> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (options.signal?.aborted) return Promise.reject(interrupted(`QMP ${command}`));
    this.#issued += 1;
    const id = `${ID}${this.#issued}`;
    const timeout = options.timeout ?? this.#options.timeouts.qmpCommand;
    const wait = openWait<unknown>({
      what: `QMP ${command}`,
      timeout,
      signal: options.signal,
      onTimeout: () => timedOut(`the reply to QMP ${command}`, timeout, this.#options.blame),
      onEnd: () => this.#pending.delete(id),
    });
    this.#pending.set(id, { command, wait });
    const hasArguments = Object.keys(args).length > 0;
    this.#channel.send(JSON.stringify({ execute: command, ...(hasArguments && { arguments: args }), id }));
    return wait.promise;
  }

  /** Calls `listener` for each later event of that name (`*`: every event); returns the way to stop it. */
  on(event: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  }

  /**
   * The next event of that name, or the next that satisfies the predicate. Only events that arrive after the call
   * count: call it before the command that causes the event, and await it afterwards.
   */
  nextEvent(
    wanted: string | ((event: QmpEvent) => boolean),
    options: { readonly timeout: number; readonly signal?: AbortSignal | undefined },
  ): Promise<QmpEvent> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    const what = `QMP event ${typeof wanted === 'string' ? wanted : 'of interest'}`;
    if (options.signal?.aborted) return Promise.reject(interrupted(what));
    const matches = typeof wanted === 'string' ? (event: QmpEvent) => event.event === wanted : wanted;
    const unsubscribe = this.on('*', (event) => {
      if (matches(event)) wait.resolve(event);
    });
    const wait: Wait<QmpEvent> = openWait<QmpEvent>({
      what,
      timeout: options.timeout,
      signal: options.signal,
      onTimeout: () => timedOut(what, options.timeout, this.#options.blame),
      onEnd: () => {
        unsubscribe();
        this.#waiters.delete(wait);
      },
    });
    this.#waiters.add(wait);
    return wait.promise;
  }

  /** Closes our end. QEMU lives on; commands without a reply fail with `monitor/closed`. */
  async close(): Promise<void> {
    this.#channel.end(undefined);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #receive(line: string): void {
    if (line.trim() === '') return;
    const message = parseMessage(line);
    if (typeof message.event === 'string') this.#dispatch(readEvent(message, message.event));
    else if ('return' in message || 'error' in message) this.#settle(message, line);
    else throw protocol('a message that is neither reply nor event', line);
  }

  #settle(message: Record<string, unknown>, line: string): void {
    const id = message.id;
    if (typeof id !== 'string' || !this.#wasIssued(id)) {
      throw protocol('a reply to no command of ours', line);
    }
    const pending = this.#pending.get(id); // absent when its wait ended before the reply came
    if (pending === undefined) return;
    if ('error' in message) pending.wait.reject(refused(pending.command, message.error));
    else pending.wait.resolve(message.return);
  }

  #wasIssued(id: string): boolean {
    const number = id.startsWith(ID) ? Number(id.slice(ID.length)) : Number.NaN;
    return Number.isInteger(number) && number > 0 && number <= this.#issued;
  }

  /** A listener that throws must not cut the stream of messages: its error becomes an uncaught exception. */
  #dispatch(event: QmpEvent): void {
    const listeners = [...(this.#listeners.get(event.event) ?? []), ...(this.#listeners.get('*') ?? [])];
    for (const listener of listeners) {
      try {
        listener(event);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  #end(error: LabError): void {
    this.#closed = error;
    for (const { wait } of [...this.#pending.values()]) wait.reject(error);
    for (const wait of [...this.#waiters]) wait.reject(error);
    this.#listeners.clear();
    this.#markClosed(error);
  }
}

function readGreeting(line: string): Greeting {
  const qmp = parseMessage(line).QMP;
  if (!isRecord(qmp) || !isRecord(qmp.version) || !isRecord(qmp.version.qemu)) {
    throw protocol('something other than the QMP greeting', line);
  }
  return qmp as unknown as Greeting;
}

function parseMessage(line: string): Record<string, unknown> {
  let message: unknown;
  try {
    message = JSON.parse(line);
  } catch {
    throw protocol('a line that is not JSON', line);
  }
  if (!isRecord(message)) throw protocol('JSON that is not an object', line);
  return message;
}

function readEvent(message: Record<string, unknown>, event: string): QmpEvent {
  const { timestamp, data } = message;
  const at = isRecord(timestamp) ? timestamp : {};
  return {
    event,
    data: isRecord(data) ? data : {},
    timestamp: { seconds: Number(at.seconds ?? 0), microseconds: Number(at.microseconds ?? 0) },
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refused(command: string, error: unknown): LabError {
  const { class: kind = 'unknown', desc = '' } = isRecord(error) ? error : {};
  return new LabError({
    code: 'monitor/command',
    blame: 'host',
    fact: `QEMU refused the QMP command ${command}`,
    evidence: [`class: ${String(kind)}`, `description: ${String(desc)}`],
    next: 'check the arguments of the command and the version of QEMU',
  });
}

function timedOut(what: string, timeout: number, blame: Blame = 'host'): LabError {
  return new LabError({
    code: 'monitor/timeout',
    blame,
    fact: `${what} did not come within ${timeout} ms`,
    next: 'look at the log of QEMU; its main loop may be stuck inside a device',
  });
}

function asClosed(reason: Error | undefined, blame: Blame = 'host'): LabError {
  if (reason instanceof LabError) return reason;
  return new LabError({
    code: 'monitor/closed',
    blame,
    fact: 'the QMP connection has ended',
    evidence: reason === undefined ? [] : [reason.message],
    next: 'look at how QEMU exited and at its log',
    cause: reason,
  });
}

function protocol(what: string, line: string): LabError {
  return new LabError({
    code: 'monitor/protocol',
    blame: 'host',
    fact: `the QMP peer sent ${what}`,
    evidence: [line.slice(0, 400)],
    next: 'check that the stream is the QMP monitor of QEMU',
  });
}
