import type { Duplex } from 'node:stream';
import type { BlockDevice } from '../device.js';
import { MAX_PAYLOAD } from '../protocol.js';
import { encodeFrame, type Frame, FrameReader, type Hello, Kind, OPTIONAL } from './frames.js';

/** Near the device: what runs in its process, and calls it for whoever is at the other end of the stream. */
export async function answerFor(stream: Duplex, load: () => Promise<BlockDevice>): Promise<void> {
  try {
    answerOver(stream, await load());
  } catch (error) {
    send(stream, { id: 0, kind: Kind.hello, failed: true, payload: said(error) });
    stream.end();
  }
}

/** Says what the device is, and answers until the stream ends. */
function answerOver(stream: Duplex, device: BlockDevice): void {
  const hello: Hello = {
    blockSize: device.blockSize(),
    blocks: device.blocks(),
    has: OPTIONAL.filter((name) => device[name] !== undefined),
  };
  if (typeof hello.blocks !== 'number')
    throw new TypeError('in the sandbox, blocks() has to return a number');
  send(stream, { id: 0, kind: Kind.hello, payload: Buffer.from(JSON.stringify(hello)) });
  const reader = new FrameReader(MAX_PAYLOAD);
  stream.on('error', () => {});
  stream.on('data', (chunk: Buffer) => {
    for (const frame of reader.push(chunk)) void answer(stream, device, frame);
  });
}

async function answer(stream: Duplex, device: BlockDevice, frame: Frame): Promise<void> {
  const { id, kind } = frame;
  try {
    const payload = await carryOut(device, frame);
    send(stream, { id, kind, ...(payload === undefined ? {} : { payload }) });
  } catch (error) {
    send(stream, { id, kind, failed: true, payload: said(error) });
  }
}

async function carryOut(device: BlockDevice, frame: Frame): Promise<Buffer | undefined> {
  const { kind, offset, length, payload } = frame;
  if (kind === Kind.read) {
    const buffer = Buffer.alloc(length);
    await device.read(offset, buffer);
    return buffer;
  }
  if (kind === Kind.write) await device.write?.(offset, payload);
  else if (kind === Kind.flush) await device.flush?.();
  else if (kind === Kind.trim) await device.trim?.(offset, length);
  else if (kind === Kind.zero) await device.zero?.(offset, length);
  else if (kind === Kind.unmount) await device.unmount?.();
  return undefined;
}

function send(stream: Duplex, frame: Parameters<typeof encodeFrame>[0]): void {
  for (const part of encodeFrame(frame)) stream.write(part);
}

/** The error's code, if it has one, and its message. */
function said(error: unknown): Buffer {
  const { code, message } = error instanceof Error ? (error as NodeJS.ErrnoException) : { message: error };
  return Buffer.from(`${code ?? ''}\n${String(message).slice(0, 500)}`);
}
