import type { Backend } from './aligned.js';
import type { Budget } from './budget.js';
import type { BufferPool } from './buffers.js';
import type { ByteQueue } from './byte-queue.js';
import { ConnectionCut, errorNumber, type MaybePromise } from './device.js';
import { type Agreed, ALLOCATION_CONTEXT, ProtocolError } from './handshake.js';
import { Command, CommandFlag, MAX_PAYLOAD, NbdError, REQUEST_LENGTH } from './protocol.js';
import { type Output, type ReadReply, Replies } from './replies.js';
import { parseRequest, type Request } from './request.js';

/** What the requests of one connection share with those of others. */
export interface Shared {
  readonly budget: Budget;
  readonly pool: BufferPool;
}

export interface TransmissionEvents {
  /** What kept it from taking more requests is over: `advance` may be called again. */
  readonly onReady: () => void;
  /** A device wants the connection cut. */
  readonly onCut: () => void;
}

/** Requests of one connection that go on at the same time. */
const MOST_PENDING = 128;

/** Bytes of a request's data from which on it has a buffer of its own, paid for from the shared budget. */
const LARGE = 64 * 1024;

const TWO_32 = 2 ** 32;

/**
 * - `more`: all that was there is taken
 * - `blocked`: more requests go on than is good; `onReady` tells when to go on
 * - `end`: the client has said good-bye
 */
export type Advance = 'more' | 'blocked' | 'end';

/** "Transmission": the server's side of it, whatever way the bytes come in. */
export class Transmission {
  readonly #backend: Backend;
  readonly #agreed: Agreed;
  readonly #replies: Replies;
  readonly #shared: Shared;
  readonly #events: TransmissionEvents;
  readonly #size: number | bigint;
  /** The request whose data are still to come. */
  #writing: { readonly request: Request; readonly buffer: Buffer; filled: number } | undefined;
  /** A large request for which there is no memory yet, or just is. */
  #large: { readonly request: Request; granted: boolean; readonly giveUp: () => void } | undefined;
  /** Bytes of data that belong to a request that was refused. */
  #skip = 0;
  #skipped: (() => void) | undefined;
  #pending = 0;
  #closing = false;
  #ended = false;
  #idle: (() => void) | undefined;

  constructor(agreed: Agreed, output: Output, shared: Shared, events: TransmissionEvents) {
    this.#agreed = agreed;
    this.#backend = agreed.export.backend;
    this.#replies = new Replies(output, shared.pool, agreed.structured);
    this.#shared = shared;
    this.#events = events;
    const { size } = this.#backend;
    this.#size = size <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(size) : size;
  }

  /**
   * Serves all requests that `input` holds.
   *
   * @throws ProtocolError.
   */
  advance(input: ByteQueue, mayContinue: () => boolean): Advance {
    try {
      for (;;) {
        if (this.#pending >= MOST_PENDING || !mayContinue()) return 'blocked';
        const step = this.#step(input);
        if (step !== undefined) return step;
      }
    } finally {
      this.#replies.flush();
    }
  }

  /** From now on requests are refused: the server shuts down ("Terminating the transmission phase"). */
  shutDown(): void {
    this.#closing = true;
  }

  /** Ends when no request goes on any more. */
  async idle(): Promise<void> {
    if (this.#pending === 0) return;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
  }

  /** The connection has ended: what was allocated for it is given back. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#large?.giveUp();
    if (this.#large?.granted === true) this.#shared.budget.give(this.#large.request.length);
    this.#large = undefined;
    if (this.#writing !== undefined) this.#freeWriteBuffer(this.#writing.buffer, this.#writing.request);
    this.#writing = undefined;
    this.#replies.close();
  }

  /** Serves one request, or takes a part of one. `undefined`: go on. */
  #step(input: ByteQueue): Advance | undefined {
    if (this.#skip > 0) return this.#skipData(input);
    if (this.#writing !== undefined) return this.#fillWrite(input, this.#writing);
    if (this.#large !== undefined) return this.#startLarge(input, this.#large);
    const request = this.#next(input);
    if (request === undefined) return 'more';
    if (request.command === Command.DISC) return 'end';
    const refusal = this.#refusal(request);
    if (refusal !== undefined) {
      this.#refuse(request, refusal);
      return undefined;
    }
    if (needsMemory(request)) return this.#waitForMemory(input, request);
    if (request.command !== Command.WRITE || request.length === 0) {
      this.#serve(request);
      return undefined;
    }
    const data = input.take(request.length);
    if (data !== undefined) {
      this.#write(request, data, () => {});
      return undefined;
    }
    this.#writing = { request, buffer: this.#shared.pool.take(request.length), filled: 0 };
    return this.#fillWrite(input, this.#writing);
  }

  #next(input: ByteQueue): Request | undefined {
    const head = input.take(REQUEST_LENGTH);
    if (head === undefined) return undefined;
    const request = parseRequest(head);
    if (request === undefined) throw new ProtocolError('a request without its magic number');
    if (request.command === Command.WRITE && request.length > MAX_PAYLOAD)
      throw new ProtocolError(`a write of ${request.length} bytes; ${MAX_PAYLOAD} are the most`);
    return request;
  }

  /** Why a request cannot be served: "Error values" and "Request types". */
  #refusal(request: Request): { readonly error: number; readonly why: string } | undefined {
    const { command, length } = request;
    const no = (name: keyof typeof NbdError, why: string) => ({ error: NbdError[name], why });
    if (this.#closing) return no('ESHUTDOWN', 'the server shuts down');
    const allowed = this.#allowedFlags(command);
    if (allowed === undefined) return no('EINVAL', `command ${command} is not known`);
    if ((request.flags & ~allowed) !== 0) return no('EINVAL', 'a flag that does not belong to the command');
    if (command === Command.FLUSH) return undefined;
    const changes = command === Command.WRITE || command === Command.TRIM || command === Command.WRITE_ZEROES;
    if (changes && this.#backend.readOnly) return no('EPERM', 'the device is read-only');
    const full = command === Command.WRITE || command === Command.WRITE_ZEROES;
    if (!this.#isInside(request)) return no(full ? 'ENOSPC' : 'EINVAL', 'beyond the end of the device');
    if (request.isRead && length > MAX_PAYLOAD)
      return no(this.#agreed.structured ? 'EOVERFLOW' : 'EINVAL', `more than ${MAX_PAYLOAD} bytes at once`);
    const zeroFast = command === Command.WRITE_ZEROES && (request.flags & CommandFlag.FAST_ZERO) !== 0;
    const aligned = ((request.offsetLow | length) & (this.#backend.blockSize - 1)) === 0;
    if (zeroFast && !aligned) return no('ENOTSUP', 'writing zeros to parts of blocks is not fast');
    return undefined;
  }

  /** `undefined` for commands that are not served. */
  #allowedFlags(command: number): number | undefined {
    const { canFlush, canTrim, canZeroFast } = this.#backend;
    const fua = canFlush ? CommandFlag.FUA : 0;
    switch (command) {
      case Command.READ:
        return fua | (this.#agreed.structured ? CommandFlag.DF : 0);
      case Command.WRITE:
        return fua;
      case Command.FLUSH:
        return canFlush ? fua : undefined;
      case Command.TRIM:
        return canTrim || this.#backend.readOnly ? fua : undefined;
      case Command.WRITE_ZEROES:
        return fua | CommandFlag.NO_HOLE | (canZeroFast ? CommandFlag.FAST_ZERO : 0);
      case Command.BLOCK_STATUS:
        return this.#agreed.allocation ? fua | CommandFlag.REQ_ONE : undefined;
      default:
        return undefined;
    }
  }

  #isInside({ offsetHigh, offsetLow, length }: Request): boolean {
    const size = this.#size;
    if (typeof size === 'number') return offsetHigh * TWO_32 + offsetLow + length <= size;
    return (BigInt(offsetHigh) << 32n) + BigInt(offsetLow) + BigInt(length) <= size;
  }

  #refuse(request: Request, { error, why }: { readonly error: number; readonly why: string }): void {
    const reply = () => this.#replies.failed(request, error, why);
    if (request.command !== Command.WRITE || request.length === 0) return void reply();
    this.#skip = request.length;
    this.#skipped = reply;
  }

  #skipData(input: ByteQueue): Advance | undefined {
    const part = Math.min(this.#skip, input.length);
    if (part === 0) return 'more';
    input.take(part);
    this.#skip -= part;
    if (this.#skip === 0) this.#skipped?.();
    return undefined;
  }

  #waitForMemory(input: ByteQueue, request: Request): Advance | undefined {
    const { budget } = this.#shared;
    if (budget.tryTake(request.length)) {
      this.#large = { request, granted: true, giveUp: () => {} };
      return this.#startLarge(input, this.#large);
    }
    const giveUp = budget.wait(request.length, () => {
      large.granted = true;
      this.#events.onReady();
    });
    const large = { request, granted: false, giveUp };
    this.#large = large;
    return 'blocked';
  }

  #startLarge(
    input: ByteQueue,
    { request, granted }: { readonly request: Request; readonly granted: boolean },
  ): Advance | undefined {
    if (!granted) return 'blocked';
    this.#large = undefined;
    if (request.isRead) {
      this.#read(
        request,
        this.#replies.large(request, () => this.#shared.budget.give(request.length)),
      );
      return undefined;
    }
    this.#writing = { request, buffer: this.#shared.pool.take(request.length), filled: 0 };
    return this.#fillWrite(input, this.#writing);
  }

  #fillWrite(
    input: ByteQueue,
    writing: { readonly request: Request; readonly buffer: Buffer; filled: number },
  ): Advance | undefined {
    const { request, buffer } = writing;
    const data = buffer.subarray(0, request.length);
    writing.filled += input.fill(data, writing.filled);
    if (writing.filled < request.length) return 'more';
    this.#writing = undefined;
    this.#write(request, data, () => this.#freeWriteBuffer(buffer, request));
    return undefined;
  }

  #freeWriteBuffer(buffer: Buffer, request: Request): void {
    this.#shared.pool.give(buffer);
    if (needsMemory(request)) this.#shared.budget.give(request.length);
  }

  #serve(request: Request): void {
    const { command, offsetHigh, offsetLow, length } = request;
    if (length === 0 && command !== Command.FLUSH) return void this.#replies.done(request);
    if (request.isRead) return void this.#read(request, this.#replies.small(request));
    if (command === Command.BLOCK_STATUS) return void this.#blockStatus(request);
    const backend = this.#backend;
    this.#change(request, () => {
      if (command === Command.FLUSH) return backend.flush();
      if (command === Command.TRIM) return backend.trim(offsetHigh, offsetLow, length);
      return backend.zero(offsetHigh, offsetLow, length);
    });
  }

  #read(request: Request, reply: ReadReply): void {
    this.#run(() => this.#backend.read(request.offsetHigh, request.offsetLow, reply.data), {
      later: reply.keep,
      done: reply.send,
      failed: (error) => {
        if (error instanceof ConnectionCut) {
          reply.sendPart(error.answered);
          this.#cut();
          return;
        }
        reply.drop();
        this.#fail(request, error);
      },
    });
  }

  #write(request: Request, data: Buffer, free: () => void): void {
    const work = () => this.#backend.write(request.offsetHigh, request.offsetLow, data);
    this.#change(request, work, free);
  }

  /** A request without data in its answer. */
  #change(request: Request, work: () => MaybePromise<void>, free = () => {}): void {
    const fua = (request.flags & CommandFlag.FUA) !== 0 && request.command !== Command.FLUSH;
    const persistent = (): MaybePromise<void> => {
      const result = work();
      if (!fua) return result;
      return isPending(result) ? result.then(() => this.#backend.flush()) : this.#backend.flush();
    };
    this.#run(persistent, {
      done: () => {
        free();
        this.#replies.done(request);
      },
      failed: (error) => {
        free();
        this.#fail(request, error);
      },
    });
  }

  #blockStatus(request: Request): void {
    const { offsetHigh, offsetLow, length, flags } = request;
    const one = (flags & CommandFlag.REQ_ONE) !== 0;
    let status: { length: number; flags: number }[] = [];
    this.#run(
      async () => {
        status = describe(await this.#backend.extents(offsetHigh, offsetLow, length), length, one);
      },
      {
        done: () => this.#replies.blockStatus(request, ALLOCATION_CONTEXT, status),
        failed: (error) => this.#fail(request, error),
      },
    );
  }

  /** Calls a device, whose mistakes end nothing but the request. */
  #run(
    work: () => MaybePromise<void>,
    then: {
      readonly later?: () => void;
      readonly done: () => void;
      readonly failed: (error: unknown) => void;
    },
  ): void {
    let result: MaybePromise<void>;
    try {
      result = work();
    } catch (error) {
      then.failed(error);
      return;
    }
    if (!isPending(result)) return void then.done();
    this.#pending += 1;
    then.later?.();
    result.then(
      () => this.#finish(then.done),
      (error: unknown) => this.#finish(() => then.failed(error)),
    );
  }

  #finish(reply: () => void): void {
    this.#pending -= 1;
    reply();
    this.#replies.flush();
    if (this.#pending === 0) this.#idle?.();
    if (this.#pending === MOST_PENDING - 1) this.#events.onReady();
  }

  #fail(request: Request, error: unknown): void {
    if (error instanceof ConnectionCut) return void this.#cut();
    const message = error instanceof Error ? error.message : String(error);
    this.#replies.failed(request, errorNumber(error), message);
  }

  #cut(): void {
    this.#replies.flush();
    this.#events.onCut();
  }
}

function needsMemory({ command, length }: Request): boolean {
  return length > LARGE && (command === Command.READ || command === Command.WRITE);
}

function isPending(result: unknown): result is Promise<void> {
  return typeof (result as Promise<void> | undefined)?.then === 'function';
}

/** "Structured reply types", BLOCK_STATUS: how many extents, and how long they may be. */
function describe(
  extents: readonly { readonly length: number; readonly hole: boolean; readonly zero: boolean }[],
  length: number,
  one: boolean,
): { length: number; flags: number }[] {
  const status: { length: number; flags: number }[] = [];
  let left = length;
  for (const extent of extents) {
    if (left <= 0 || status.length === MOST_EXTENTS) break;
    status.push({
      length: Math.min(extent.length, left),
      flags: (extent.hole ? 1 : 0) | (extent.zero ? 2 : 0),
    });
    left -= extent.length;
    if (one) break;
  }
  return status;
}

const MOST_EXTENTS = 2 ** 16;
