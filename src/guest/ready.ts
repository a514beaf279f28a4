import { isAbort, LabError } from '../errors.js';
import { Connection, type ConnectOptions, loadSsh } from './connection.js';
import { Stop } from './stop.js';

export interface ReadyOptions extends ConnectOptions {
  /** Resolves when the guest says that its SSH server listens; absent: try at once. A rejection counts as silence. */
  readonly ready?: Promise<unknown> | undefined;
  /** Milliseconds for the whole wait; default `timeouts.boot`. */
  readonly deadline?: number;
}

/**
 * A connection to a guest that may still be booting.
 *
 * The first attempt starts when `ready` resolves. Before that, and in case that sign is lost, an attempt is made
 * every two seconds, ever less often. An attempt that is refused or closed is followed by another; one that stays
 * silent (a forwarded port accepts before the guest listens, and a lost first packet is not repeated for seconds) is
 * overtaken by another; one that was answered is left alone. Wrong keys end it at once.
 *
 * @throws LabError `guest/not-ready` at the deadline (evidence: the last attempt), `guest/host-key`, `guest/auth`,
 *   `guest/protocol`, `guest/key`, `interrupted`, or the reason of `fatal`.
 */
export async function dialWhenReady(options: ReadyOptions): Promise<Connection> {
  const deadline = options.deadline ?? options.timeouts.boot;
  loadSsh().catch(() => {}); // an attempt reports what is wrong with it
  const dialler = new Dialler(options);
  using stop = new Stop({
    what: `waiting for the guest at ${options.host}:${options.port}`,
    timeout: deadline,
    onTimeout: () => notReady(options, deadline, dialler),
    signal: options.signal,
    fatal: options.fatal,
  });
  try {
    return await stop.race(dialler.connected);
  } catch (error) {
    dialler.connected.then((late) => late.close()).catch(() => {}); // it lost the race against the stop
    throw error;
  } finally {
    dialler.end();
  }
}

/** Attempts that may be silent at the same time: each costs a slow guest a fork once it does listen. */
const AT_ONCE = 2;

interface Attempt {
  readonly cancel: AbortController;
  spoke: boolean;
}

/** Starts attempts, at a pace that depends on what is known of the guest, until one connects or fails for good. */
class Dialler {
  readonly connected: Promise<Connection>;
  attempts = 0;
  lastError: LabError | undefined;
  readonly #options: ReadyOptions;
  readonly #live = new Set<Attempt>();
  #resolve: (connection: Connection) => void = () => {};
  #reject: (error: unknown) => void = () => {};
  #timer: NodeJS.Timeout | undefined;
  #said: boolean;
  #overtake: number;
  #retry: number;
  #over = false;

  constructor(options: ReadyOptions) {
    this.#options = options;
    this.connected = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    const { sshConnect } = options.timeouts;
    this.#said = options.ready === undefined;
    this.#overtake = sshConnect / (this.#said ? 30 : 7.5); // 0.5 s, or 2 s while nothing is known
    this.#retry = sshConnect / 300; // 50 ms
    if (this.#said) this.#attempt();
    else this.#schedule(this.#overtake);
    options.ready?.then(
      () => this.#listens(),
      () => {},
    );
  }

  end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    for (const { cancel } of this.#live) cancel.abort();
  }

  #listens(): void {
    this.#said = true;
    this.#overtake = this.#options.timeouts.sshConnect / 30;
    if (!this.#over && !this.#isAnswered()) this.#attempt();
  }

  #attempt(): void {
    this.#dropOldest();
    const attempt: Attempt = { cancel: new AbortController(), spoke: false };
    this.#live.add(attempt);
    this.attempts += 1;
    const onSpoke = () => {
      attempt.spoke = true;
      clearTimeout(this.#timer);
      for (const other of this.#live) if (other !== attempt) other.cancel.abort();
    };
    const options = { ...this.#options, signal: attempt.cancel.signal };
    Connection.open(options, onSpoke).then(
      (connection) => this.#succeeded(connection),
      (error) => this.#failed(attempt, error),
    );
    this.#schedule(this.#overtake);
    this.#overtake = Math.min(this.#overtake * 1.5, options.timeouts.sshConnect / (this.#said ? 4 : 1));
  }

  #dropOldest(): void {
    if (this.#live.size < AT_ONCE) return;
    const [oldest] = this.#live;
    oldest?.cancel.abort();
  }

  #succeeded(connection: Connection): void {
    if (this.#over) void connection.close();
    else this.#resolve(connection);
  }

  #failed(attempt: Attempt, error: unknown): void {
    this.#live.delete(attempt);
    if (this.#over || (attempt.cancel.signal.aborted && isAbort(error))) return;
    if (!(error instanceof LabError) || error.code !== 'guest/unreachable') {
      this.#reject(error);
      return;
    }
    this.lastError = error;
    if (!this.#said && !attempt.spoke) return; // the next attempt is scheduled; nothing listens yet
    this.#schedule(this.#retry);
    this.#retry = Math.min(this.#retry * 1.5, this.#options.timeouts.sshConnect / 15);
  }

  #schedule(delay: number): void {
    clearTimeout(this.#timer);
    if (this.#over || this.#isAnswered()) return;
    this.#timer = setTimeout(() => this.#attempt(), delay);
  }

  #isAnswered(): boolean {
    return [...this.#live].some(({ spoke }) => spoke);
  }
}

function notReady(options: ReadyOptions, deadline: number, { attempts, lastError }: Dialler): LabError {
  const evidence = [`${attempts} attempts`];
  if (lastError !== undefined) evidence.push(`the last one: ${lastError.message}`, ...lastError.evidence);
  return new LabError({
    code: 'guest/not-ready',
    blame: 'host',
    fact: `the guest at ${options.host}:${options.port} did not answer over SSH within ${(deadline / 1000).toFixed(0)} s`,
    evidence,
    next: 'look at the console: `lab logs`, `lab console`',
    cause: lastError,
  });
}
