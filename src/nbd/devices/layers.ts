import { setTimeout as delay } from 'node:timers/promises';
import type { BlockDevice } from '../device.js';
import { sparse } from './memory.js';
import { type Operation, wrap } from './wrap.js';

/** The same device, with `log` called for each operation that has ended. */
export function logged(device: BlockDevice, log: (entry: LogEntry) => void): BlockDevice {
  return wrap(device, (operation, carryOut) => {
    const started = performance.now();
    const { kind, offset, length } = operation;
    const say = (error?: unknown) =>
      log({
        ...{ kind, offset, length, duration: performance.now() - started },
        ...(error === undefined ? {} : { error }),
      });
    const failed = (error: unknown) => {
      say(error);
      throw error;
    };
    let result: ReturnType<typeof carryOut>;
    try {
      result = carryOut();
    } catch (error) {
      return failed(error);
    }
    if (result instanceof Promise) return result.then(() => say(), failed);
    say();
  });
}

export interface LogEntry extends Omit<Operation, 'buffer'> {
  /** Milliseconds. */
  readonly duration: number;
  /** What it failed with. */
  readonly error?: unknown;
}

/** The same device, each of whose operations begins later by so many milliseconds. */
export function delayed(device: BlockDevice, milliseconds: number): BlockDevice {
  return wrap(device, async (_operation, carryOut) => {
    await delay(milliseconds);
    await carryOut();
  });
}

/** A device in memory over another one, which is never written to. It reads what was written, else the other's. */
export function overlay(base: BlockDevice): BlockDevice {
  const blockSize = base.blockSize();
  const top = sparse(blockSize * base.blocks(), blockSize);
  const written = new Set<number>();
  const mark = (offset: number, length: number) => {
    for (let at = offset; at < offset + length; at += blockSize) written.add(at / blockSize);
  };
  return {
    blockSize: () => blockSize,
    blocks: () => base.blocks(),
    read: async (offset, buffer) => {
      for (const run of runsOf(written, offset, buffer.length, blockSize)) {
        const part = buffer.subarray(run.from - offset, run.to - offset);
        await (run.own ? top : base).read(run.from, part);
      }
    },
    write: (offset, buffer) => {
      mark(offset, buffer.length);
      return top.write?.(offset, buffer);
    },
    zero: (offset, length) => {
      mark(offset, length);
      return top.zero?.(offset, length);
    },
    flush: () => {},
    unmount: () => base.unmount?.(),
  };
}

/** The range cut where blocks that were written meet others. */
function* runsOf(written: ReadonlySet<number>, offset: number, length: number, blockSize: number) {
  const end = offset + length;
  for (let from = offset; from < end; ) {
    const own = written.has(from / blockSize);
    let to = from + blockSize;
    while (to < end && written.has(to / blockSize) === own) to += blockSize;
    yield { own, from, to };
    from = to;
  }
}
