import type { Duplex } from 'node:stream';
import { type Blame, interrupted, LabError } from '../errors.js';
import { type ChannelLog, LineChannel } from '../monitor/line-channel.js';
import type { Timeouts } from '../timeouts.js';
import { openWait, type Wait } from '../waits.js';

export interface QTestOptions {
  readonly timeouts: Timeouts;
  /** Ends every command in flight. */
  readonly signal?: AbortSignal | undefined;
  readonly log?: ChannelLog | undefined;
  /** Whom a QEMU that dies or hangs is charged to; default `host`. */
  readonly blame?: Blame;
}

/** A physical address or a count: integers only; beyond 2⁵³ as bigint. */
export type Word = number | bigint;

/** An intercepted interrupt line changed. */
export interface IrqChange {
  readonly line: number;
  readonly raised: boolean;
}

interface Pending {
  readonly command: string;
  readonly wait: Pick<Wait<string>, 'done' | 'resolve' | 'reject'>;
}

/** Bytes moved by one `read` or `write` line; larger transfers are cut. */
const PIECE = 256 * 1024;
const LONGEST = 4 * PIECE;

/**
 * Client of QEMU's qtest protocol over any byte stream: device registers without a guest. Replies carry no ids, so
 * commands are answered strictly in order; a command whose wait ended keeps its place in the queue.
 *
 * Failures are LabErrors: `qtest/command` (QEMU said FAIL or ERR), `qtest/closed` (the stream ended: QEMU exited or
 * crashed), `qtest/timeout` (a device hangs), `qtest/protocol`, `qtest/argument`, `interrupted`.
 */
export class QTest implements AsyncDisposable {
  readonly #options: QTestOptions;
  readonly #channel: LineChannel;
  readonly #pending: Pending[] = [];
  readonly #listeners = new Set<(change: IrqChange) => void>();
  readonly #raised = new Set<number>();
  #closed: LabError | undefined;

  /** Reads from this moment on; qtest has no greeting. Owns the stream. */
  static attach(stream: Duplex, options: QTestOptions): QTest {
    return new QTest(stream, options);
  }

  private constructor(stream: Duplex, options: QTestOptions) {
    this.#options = options;
    this.#channel = new LineChannel(stream, {
      log: options.log,
      longest: LONGEST,
      onLine: (line) => this.#receive(line),
      onEnd: (reason) => this.#end(reason),
    });
  }

  /** Reads of 1, 2, 4 bytes of physical memory, in the target's byte order. */
  readb = (address: Word): Promise<number> => this.#number('readb', address);
  readw = (address: Word): Promise<number> => this.#number('readw', address);
  readl = (address: Word): Promise<number> => this.#number('readl', address);
  readq = async (address: Word): Promise<bigint> => parseWord(await this.#send(`readq ${hex(address)}`));

  writeb = (address: Word, value: Word): Promise<void> => this.#write('writeb', address, value, 8);
  writew = (address: Word, value: Word): Promise<void> => this.#write('writew', address, value, 16);
  writel = (address: Word, value: Word): Promise<void> => this.#write('writel', address, value, 32);
  writeq = (address: Word, value: Word): Promise<void> => this.#write('writeq', address, value, 64);

  /** Port I/O; ports are 0 to 0xffff. */
  inb = (at: number): Promise<number> => this.#number('inb', at, 16);
  inw = (at: number): Promise<number> => this.#number('inw', at, 16);
  inl = (at: number): Promise<number> => this.#number('inl', at, 16);
  outb = (at: number, value: number): Promise<void> => this.#write('outb', at, value, 8, 16);
  outw = (at: number, value: number): Promise<void> => this.#write('outw', at, value, 16, 16);
  outl = (at: number, value: number): Promise<void> => this.#write('outl', at, value, 32, 16);

  /** `size` bytes of physical memory as one bulk access: a device may see any access sizes. */
  async memread(address: Word, size: number): Promise<Buffer> {
    const pieces = cut(address, size).map(async ({ at, length }) => {
      const reply = await this.#send(`read ${hex(at)} ${hex(length)}`);
      const bytes = Buffer.from(reply.replace(/^0x/, ''), 'hex');
      if (bytes.length !== length) throw protocol(`${bytes.length} bytes where ${length} were read`, reply);
      return bytes;
    });
    return Buffer.concat(await Promise.all(pieces));
  }

  async memwrite(address: Word, data: Uint8Array): Promise<void> {
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    const writes = cut(address, bytes.length).map(({ at, from, length }) =>
      this.#send(`write ${hex(at)} ${hex(length)} 0x${bytes.toString('hex', from, from + length)}`),
    );
    await Promise.all(writes);
  }

  /**
   * Sends whole commands, as one batch under one deadline, and waits for the last answer; what they answer is of no
   * interest, only that they do. Nothing checks them.
   *
   * @returns how many were answered, and the error of the first that was not or was refused.
   */
  async batch(
    commands: readonly string[],
  ): Promise<{ readonly answered: number; readonly error?: LabError }> {
    if (this.#closed !== undefined) return { answered: 0, error: this.#closed };
    let answered = 0;
    const all = this.#open(`a batch of ${commands.length} commands`);
    const wait = {
      get done() {
        return all.done;
      },
      resolve: () => {
        answered += 1;
        if (answered === commands.length) all.resolve('');
      },
      reject: all.reject,
    };
    for (const command of commands) {
      this.#pending.push({ command: short(command), wait });
      this.#channel.send(command);
    }
    if (commands.length === 0) all.resolve('');
    return await all.promise.then(
      () => ({ answered }),
      (error: LabError) => ({ answered, error }),
    );
  }

  /** Advances the virtual clock by `ns`, or to its next timer; gives the new time. Needs `-accel qtest`. */
  async clockStep(ns?: Word): Promise<bigint> {
    const count = ns === undefined ? '' : ` ${inRange(ns, 63)}`;
    return parseWord(await this.#send(`clock_step${count}`));
  }

  /** From now on changes of the input (or output) lines of the device at `qomPath` are reported; one device per QEMU. */
  async interceptIrqs(direction: 'in' | 'out', qomPath: string): Promise<void> {
    if (!/^[\x21-\x7e]+$/.test(qomPath)) throw badArgument(`the QOM path '${qomPath}'`);
    await this.#send(`irq_intercept_${direction} ${qomPath}`);
  }

  /** Whether an intercepted line is raised. Changes come before the reply to the command that caused them. */
  irq(line: number): boolean {
    return this.#raised.has(line);
  }

  onIrq(listener: (change: IrqChange) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Ends our side; commands in flight fail with `qtest/closed`. QEMU exits by itself with `-accel qtest` only. */
  async close(): Promise<void> {
    this.#channel.end(undefined);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** QEMU aborts on a port beyond 0xffff, hence the range of the address. */
  async #number(command: string, address: Word, addressBits = 64): Promise<number> {
    return Number(parseWord(await this.#send(`${command} ${hex(address, addressBits)}`)));
  }

  async #write(command: string, address: Word, value: Word, bits: number, addressBits = 64): Promise<void> {
    await this.#send(`${command} ${hex(address, addressBits)} ${hex(value, bits)}`);
  }

  #send(command: string): Promise<string> {
    const shown = short(command);
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (this.#options.signal?.aborted) return Promise.reject(interrupted(`qtest ${shown}`));
    const wait = this.#open(shown);
    this.#pending.push({ command: shown, wait });
    this.#channel.send(command);
    return wait.promise;
  }

  #open(shown: string): Wait<string> {
    const { signal, timeouts, blame } = this.#options;
    const timeout = timeouts.qtestCommand;
    const onTimeout = () => timedOut(shown, timeout, blame);
    return openWait<string>({ what: `qtest ${shown}`, timeout, signal, onTimeout });
  }

  #receive(line: string): void {
    const [word = '', ...rest] = line.split(' ');
    if (word === 'IRQ') {
      this.#interrupt(rest, line);
      return;
    }
    if (word !== 'OK' && word !== 'FAIL' && word !== 'ERR') throw protocol('an unknown line', line);
    const pending = this.#pending.shift();
    if (pending === undefined) throw protocol('a reply to no command of ours', line);
    if (word === 'OK') pending.wait.resolve(rest.join(' '));
    else pending.wait.reject(refused(pending.command, line));
  }

  #interrupt([level, number]: readonly string[], line: string): void {
    const at = Number(number);
    if ((level !== 'raise' && level !== 'lower') || !Number.isInteger(at)) {
      throw protocol('an unknown interrupt message', line);
    }
    if (level === 'raise') this.#raised.add(at);
    else this.#raised.delete(at);
    for (const listener of [...this.#listeners]) listener({ line: at, raised: level === 'raise' });
  }

  #end(reason: Error | undefined): void {
    const first = this.#pending.find(({ wait }) => !wait.done)?.command;
    this.#closed = reason instanceof LabError ? reason : asClosed(reason, first, this.#options.blame);
    for (const { wait } of this.#pending.splice(0)) wait.reject(this.#closed);
    this.#listeners.clear();
  }
}

function short(command: string): string {
  return command.length > 80 ? `${command.slice(0, 80)}…` : command;
}

function cut(address: Word, size: number): { at: bigint; from: number; length: number }[] {
  if (!Number.isInteger(size) || size <= 0) throw badArgument(`a transfer of ${size} bytes`);
  const count = Math.ceil(size / PIECE);
  return Array.from({ length: count }, (_, i) => {
    const from = i * PIECE;
    return { at: inRange(address, 64) + BigInt(from), from, length: Math.min(PIECE, size - from) };
  });
}

function hex(value: Word, bits = 64): string {
  return `0x${inRange(value, bits).toString(16)}`;
}

function inRange(value: Word, bits: number): bigint {
  const word = typeof value === 'bigint' || Number.isSafeInteger(value) ? BigInt(value) : -1n;
  if (word < 0n || word >> BigInt(bits) !== 0n) throw badArgument(`${value} as a number of ${bits} bits`);
  return word;
}

function parseWord(text: string): bigint {
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) throw protocol('a value that is not a number', text);
  return BigInt(text);
}

function badArgument(what: string): LabError {
  return new LabError({
    code: 'qtest/argument',
    blame: 'user',
    fact: `${what} cannot be sent over qtest`,
    next: 'correct the caller',
  });
}

function refused(command: string, line: string): LabError {
  return new LabError({
    code: 'qtest/command',
    blame: 'host',
    fact: `QEMU refused the qtest command ${command}`,
    evidence: [line],
    next: 'check the command; clock_step needs a QEMU with -accel qtest',
  });
}

function timedOut(command: string, timeout: number, blame: Blame = 'host'): LabError {
  return new LabError({
    code: 'qtest/timeout',
    blame,
    fact: `no reply to qtest ${command} within ${timeout} ms`,
    next: 'look for a loop in the read or write function of the device',
  });
}

function asClosed(reason: Error | undefined, command: string | undefined, blame: Blame = 'host'): LabError {
  return new LabError({
    code: 'qtest/closed',
    blame,
    fact: `the qtest connection has ended${command === undefined ? '' : ` before the reply to ${command}`}`,
    evidence: reason === undefined ? [] : [reason.message],
    next: 'look at how QEMU exited: a crash in a device ends it',
    cause: reason,
  });
}

function protocol(what: string, line: string): LabError {
  return new LabError({
    code: 'qtest/protocol',
    blame: 'host',
    fact: `the qtest peer sent ${what}`,
    evidence: [line.slice(0, 400)],
    next: 'check that the stream is the qtest socket of QEMU, of a version that we know',
  });
}
