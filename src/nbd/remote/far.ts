import type { Duplex } from 'node:stream';
import { Deadline } from '../../deadline.js';
import { type BlockDevice, DeviceError } from '../device.js';
import { MAX_PAYLOAD, NbdError } from '../protocol.js';
import { encodeFrame, type Frame, FrameReader, type Hello, Kind, OPTIONAL } from './frames.js';

export interface RemoteOptions {
  /** Milliseconds until it has said what it is. */
  readonly start: number;
  /** Milliseconds for one operation. After that nothing is expected of the device any more. */
  readonly patience: number;
  /** Called once, when the device is of no further use. `late`: it did not answer in time. */
  readonly onLost?: (lost: { readonly reason: string; readonly late: boolean }) => void;
}

/**
 * A device that lives at the other end of a stream. Nothing is believed of what comes from there: whatever is no answer
 * to a question, or comes too late, ends the connection, and each operation then fails with EIO.
 *
 * @throws Error with the reason for which there is no device.
 */
export async function remoteDevice(stream: Duplex, options: RemoteOptions): Promise<BlockDevice> {
  const remote = new Remote(stream, options);
  const hello = readHello(await remote.greeted);
  const has = new Set(hello.has.filter((name) => (OPTIONAL as readonly string[]).includes(name)));
  const device: BlockDevice = {
    blockSize: () => hello.blockSize,
    blocks: () => hello.blocks,
    read: async (offset, buffer) => {
      const { payload } = await remote.ask({ kind: Kind.read, offset, length: buffer.length });
      payload.copy(buffer);
    },
  };
  const write = async (offset: number, buffer: Buffer) =>
    void (await remote.ask({ kind: Kind.write, offset, length: buffer.length, payload: buffer }));
  const range = (kind: number) => async (offset: number, length: number) =>
    void (await remote.ask({ kind, offset, length }));
  const whole = (kind: number) => async () => void (await remote.ask({ kind, offset: 0, length: 0 }));
  return {
    ...device,
    ...(has.has('write') ? { write } : {}),
    ...(has.has('flush') ? { flush: whole(Kind.flush) } : {}),
    ...(has.has('trim') ? { trim: range(Kind.trim) } : {}),
    ...(has.has('zero') ? { zero: range(Kind.zero) } : {}),
    ...(has.has('unmount') ? { unmount: whole(Kind.unmount) } : {}),
  };
}

function readHello({ payload, failed }: Frame): Hello {
  const text = payload.toString();
  if (failed) throw new Error(text.trim());
  const { blockSize, blocks, has } = JSON.parse(text) as Partial<Hello>;
  if (typeof blockSize !== 'number' || typeof blocks !== 'number' || !Array.isArray(has))
    throw new Error('what it says of itself is no device');
  return { blockSize, blocks, has };
}

interface Question {
  readonly kind: number;
  readonly offset: number;
  readonly length: number;
  readonly payload?: Buffer;
}

interface Pending extends Question {
  readonly resolve: (frame: Frame) => void;
  readonly reject: (error: Error) => void;
  readonly deadline: Deadline;
}

/** Bytes of what a device says of itself, or of an error. */
const LONGEST_TEXT = 4096;

class Remote {
  readonly greeted: Promise<Frame>;
  readonly #stream: Duplex;
  readonly #options: RemoteOptions;
  readonly #reader = new FrameReader(MAX_PAYLOAD);
  readonly #pending = new Map<number, Pending>();
  #count = 0;
  #lost: string | undefined;

  constructor(stream: Duplex, options: RemoteOptions) {
    this.#stream = stream;
    this.#options = options;
    this.greeted = this.#expect(0, { kind: Kind.hello, offset: 0, length: 0 }, options.start);
    stream.on('data', (chunk: Buffer) => this.#take(chunk));
    stream.on('error', () => this.#lose('it has ended')); // all that can go wrong with a pipe
    stream.on('close', () => this.#lose('it has ended'));
    stream.on('end', () => this.#lose('it has ended'));
  }

  async ask(question: Question): Promise<Frame> {
    if (this.#lost !== undefined) throw new DeviceError('EIO', this.#lost);
    this.#count = (this.#count % 0xffff_ffff) + 1;
    const id = this.#count;
    const answer = this.#expect(id, question);
    for (const part of encodeFrame({ id, ...question })) this.#stream.write(part);
    const frame = await answer;
    if (frame.failed) throw failureOf(frame.payload);
    return frame;
  }

  #expect(id: number, question: Question, patience = this.#options.patience): Promise<Frame> {
    return new Promise((resolve, reject) => {
      const late = () => this.#lose(`it did not answer within ${patience} ms`, true);
      const deadline = new Deadline(late, patience);
      this.#pending.set(id, { ...question, resolve, reject, deadline });
    });
  }

  #take(chunk: Buffer): void {
    if (this.#lost !== undefined) return;
    try {
      for (const frame of this.#reader.push(chunk)) this.#settle(frame);
    } catch (error) {
      this.#lose(error instanceof Error ? error.message : String(error));
    }
  }

  #settle(frame: Frame): void {
    const pending = this.#pending.get(frame.id);
    if (pending === undefined || pending.kind !== frame.kind)
      throw new RangeError('it sent something that is no answer');
    const text = frame.failed || frame.kind === Kind.hello;
    const length = frame.kind === Kind.read ? pending.length : 0;
    if (text ? frame.payload.length > LONGEST_TEXT : frame.payload.length !== length)
      throw new RangeError(`an answer has ${frame.payload.length} bytes instead of ${length}`);
    this.#pending.delete(frame.id);
    pending.deadline.clear();
    pending.resolve(frame);
  }

  #lose(reason: string, late = false): void {
    if (this.#lost !== undefined) return;
    this.#lost = `the device is of no use: ${reason}`;
    this.#stream.destroy();
    for (const { reject, deadline } of this.#pending.values()) {
      deadline.clear();
      reject(new DeviceError('EIO', this.#lost));
    }
    this.#pending.clear();
    this.#options.onLost?.({ reason, late });
  }
}

function failureOf(payload: Buffer): Error {
  const [code = '', ...message] = payload.toString().split('\n');
  const known = code in NbdError ? (code as keyof typeof NbdError) : 'EIO';
  return new DeviceError(known, message.join('\n'));
}
