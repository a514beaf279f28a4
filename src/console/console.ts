import { type Blame, interrupted, LabError } from '../errors.js';
import { openWait, type Wait } from '../waits.js';
import { KernelLog, type Trouble } from './kernel-log.js';
import type { KernelReport } from './kernel-report.js';
import type { TroubleKind } from './kernel-trouble.js';
import { cleanLine, SerialLines } from './lines.js';

export type FatalKind = TroubleKind;

export interface ConsoleOptions {
  /** Where somebody else keeps the whole stream; named in errors. */
  readonly log?: string | undefined;
  /** Whom the guest's trouble and silence are charged to; default `host`. */
  readonly blame?: Blame;
}

export interface WaitForOptions {
  /** What is awaited, as it stands in an error: `the login prompt`. */
  readonly name: string;
  /** Milliseconds. */
  readonly timeout: number;
  /** Milliseconds without a byte after which the guest counts as hung. */
  readonly silence?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Trouble that ends the wait when it shows before the pattern does. */
  readonly fatal: readonly FatalKind[];
  /**
   * Milliseconds that trouble may take to print the rest of its report before the wait ends with it; default 0: the
   * wait ends with the first line.
   */
  readonly settle?: number | undefined;
  /** First line that counts, a former `cursor`; default 0, everything that is still kept. */
  readonly from?: number | undefined;
  /** Match the last line before it has its newline, as prompts need. */
  readonly unfinished?: boolean | undefined;
}

export interface ConsoleMatch {
  /** Number of the line that matched; `line + 1` is where a next wait goes on. */
  readonly index: number;
  /** The line without escape sequences. */
  readonly line: string;
  readonly match: RegExpMatchArray;
}

interface Line {
  readonly raw: string;
  readonly clean: string;
}

interface Waiter {
  readonly options: WaitForOptions;
  readonly pattern: RegExp;
  readonly wait: Wait<ConsoleMatch>;
  next: number;
  silence: NodeJS.Timeout | undefined;
  settling: NodeJS.Timeout | undefined;
}

/** Lines that stay available; older ones are only in the log. */
const KEPT = 4000;
const EVIDENCE = 40;

/**
 * Reads a guest's serial console: keeps the last lines, knows kernel trouble when it sees it, and waits for what a
 * guest says. Feed it with `attach`, or with `push` and `end`. It owns neither the stream nor the log.
 *
 * A wait fails with `console/<kind>` (kernel trouble: its report is the evidence), `console/closed`,
 * `console/timeout`, `console/silent`, or `interrupted`.
 */
export class Console {
  readonly #options: ConsoleOptions;
  readonly #splitter = new SerialLines((line) => this.#add(line));
  readonly #kernel = new KernelLog();
  readonly #waiters = new Set<Waiter>();
  #kept: Line[] = [];
  #dropped = 0;
  #ended: { readonly cause: unknown } | undefined;

  constructor(options: ConsoleOptions = {}) {
    this.#options = options;
  }

  /** Reads from now on until the stream ends; an error of the stream is an end with a cause. */
  static attach(
    source: NodeJS.ReadableStream | AsyncIterable<Uint8Array>,
    options: ConsoleOptions = {},
  ): Console {
    const console = new Console(options);
    if ('on' in source) {
      source.on('data', (chunk: Uint8Array | string) => console.push(chunk));
      source.on('error', (error: unknown) => console.end(error));
      source.on('end', () => console.end());
      source.on('close', () => console.end());
      if ('destroyed' in source && source.destroyed === true) console.end(); // its events are over
    } else void drain(source, console);
    return console;
  }

  push(chunk: Uint8Array | string): void {
    if (this.#ended !== undefined) return;
    this.#splitter.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
    for (const waiter of [...this.#waiters]) {
      waiter.silence?.refresh();
      this.#examine(waiter);
    }
  }

  /** No byte will follow: the unfinished line counts, and what still waits fails. */
  end(cause?: unknown): void {
    if (this.#ended !== undefined) return;
    this.#splitter.end();
    this.#ended = { cause };
    for (const waiter of [...this.#waiters]) this.#examine(waiter);
  }

  /** Number of the line that comes next. */
  get cursor(): number {
    return this.#dropped + this.#kept.length;
  }

  /** Finished lines as they came, from line `from` on, as far as they are kept. */
  lines(from = 0): readonly string[] {
    return this.#kept.slice(Math.max(0, from - this.#dropped)).map(({ raw }) => raw);
  }

  /** Kernel trouble seen so far, from line `from` on, whether or not its lines are still kept. */
  reports(from = 0): KernelReport[] {
    return this.#kernel.reports(from);
  }

  /** The first line that matches; a string matches where it occurs. Whatever comes first decides: match or trouble. */
  waitFor(pattern: RegExp | string, options: WaitForOptions): Promise<ConsoleMatch> {
    if (options.signal?.aborted) return Promise.reject(interrupted(`waiting for ${options.name}`));
    const wait = openWait<ConsoleMatch>({
      what: `waiting for ${options.name}`,
      timeout: options.timeout,
      signal: options.signal,
      onTimeout: () => this.#timedOut(options),
      onEnd: () => this.#forget(waiter),
    });
    const waiter: Waiter = {
      options,
      pattern: typeof pattern === 'string' ? literal(pattern) : stateless(pattern),
      wait,
      next: options.from ?? 0,
      silence: undefined,
      settling: undefined,
    };
    this.#waiters.add(waiter);
    const { silence } = options;
    if (silence !== undefined) waiter.silence = setTimeout(() => wait.reject(this.#silent(options)), silence);
    this.#examine(waiter);
    return wait.promise;
  }

  #add(raw: string): void {
    const clean = cleanLine(raw);
    this.#kept.push({ raw, clean });
    this.#kernel.push(clean, raw);
    if (this.#kept.length < 2 * KEPT) return;
    this.#kept = this.#kept.slice(KEPT);
    this.#dropped += KEPT;
  }

  #forget(waiter: Waiter): void {
    clearTimeout(waiter.silence);
    clearTimeout(waiter.settling);
    this.#waiters.delete(waiter);
  }

  #examine(waiter: Waiter): void {
    const { options, wait } = waiter;
    const trouble = this.#kernel.first(options.fatal, options.from ?? 0);
    const match = this.#search(waiter, trouble?.headLine ?? this.cursor);
    if (match !== undefined) wait.resolve(match);
    else if (trouble !== undefined) this.#onTrouble(waiter, trouble);
    else if (this.#ended !== undefined) wait.reject(this.#closed(options, this.#ended.cause));
  }

  #search(waiter: Waiter, until: number): ConsoleMatch | undefined {
    const { pattern, options } = waiter;
    for (let index = Math.max(waiter.next, this.#dropped); index < until; index += 1) {
      const found = matchOf(pattern, index, this.#kept[index - this.#dropped]?.clean ?? '');
      if (found !== undefined) return found;
    }
    waiter.next = Math.max(waiter.next, until);
    const wantsOpen = options.unfinished === true && until === this.cursor && waiter.next <= until;
    return wantsOpen ? matchOf(pattern, until, cleanLine(this.#splitter.open)) : undefined;
  }

  #onTrouble(waiter: Waiter, trouble: Trouble): void {
    const { wait, options } = waiter;
    const fail = () => wait.reject(this.#troubled(options, trouble));
    const settle = options.settle ?? 0;
    if (trouble.complete || settle === 0 || this.#ended !== undefined) fail();
    else waiter.settling ??= setTimeout(fail, settle);
  }

  #troubled(options: WaitForOptions, trouble: Trouble): LabError {
    const { kind, title, lines } = trouble.report();
    return this.#error({
      code: `console/${kind}`,
      fact: `the guest's kernel is in trouble while waiting for ${options.name}: ${title}`,
      evidence: lines.slice(0, EVIDENCE),
      next: 'read the report of the kernel from its first line: it names the function that failed',
    });
  }

  #closed(options: WaitForOptions, cause: unknown): LabError {
    return this.#error({
      code: 'console/closed',
      fact: `the console ended while waiting for ${options.name}`,
      next: 'look at how QEMU exited',
      cause,
    });
  }

  #timedOut(options: WaitForOptions): LabError {
    return this.#error({
      code: 'console/timeout',
      fact: `${options.name} did not come on the console within ${options.timeout} ms`,
      next: 'read the last lines: they tell how far the guest came',
    });
  }

  #silent(options: WaitForOptions): LabError {
    return this.#error({
      code: 'console/silent',
      fact: `the console was silent for ${options.silence} ms while waiting for ${options.name}`,
      next: 'read the last lines: the guest hangs after them',
    });
  }

  #error(parts: {
    code: string;
    fact: string;
    next: string;
    evidence?: string[];
    cause?: unknown;
  }): LabError {
    const open = this.#splitter.open;
    const last = [...this.lines(this.cursor - EVIDENCE), ...(open === '' ? [] : [open])];
    return new LabError({
      evidence: last,
      ...parts,
      blame: this.#options.blame ?? 'host',
      log: this.#options.log,
    });
  }
}

async function drain(source: AsyncIterable<Uint8Array>, console: Console): Promise<void> {
  try {
    for await (const chunk of source) console.push(chunk);
    console.end();
  } catch (error) {
    console.end(error);
  }
}

function literal(text: string): RegExp {
  return new RegExp(text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
}

/** A `g` or `y` expression remembers where it stopped; a wait must not. */
function stateless(pattern: RegExp): RegExp {
  return new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ''));
}

function matchOf(pattern: RegExp, index: number, line: string): ConsoleMatch | undefined {
  const match = pattern.exec(line);
  return match === null ? undefined : { index, line, match };
}
