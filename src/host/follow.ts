import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

export interface FollowOptions {
  /** Byte from which to start; `end` skips what is there already. */
  readonly from: number | 'end';
  readonly signal?: AbortSignal;
}

/**
 * Yields the bytes of a growing file as they are appended (inotify, no polling), until `signal` aborts.
 * The file must exist.
 */
export async function* follow(path: string, options: FollowOptions): AsyncGenerator<Buffer, void, void> {
  const file = await open(path, 'r');
  const changed = new Pulse();
  let watcher: FSWatcher | undefined;
  const stop = () => changed.raise();
  try {
    watcher = watch(path, () => changed.raise());
    options.signal?.addEventListener('abort', stop, { once: true });
    let position = options.from === 'end' ? (await file.stat()).size : options.from;
    while (options.signal?.aborted !== true) {
      const chunk = await readAt(file, position);
      if (chunk.length === 0) {
        await changed.wait();
        continue;
      }
      position += chunk.length;
      yield chunk;
    }
  } finally {
    options.signal?.removeEventListener('abort', stop);
    watcher?.close();
    await file.close();
  }
}

async function readAt(file: FileHandle, position: number): Promise<Buffer> {
  const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(64 * 1024), 0, 64 * 1024, position);
  return buffer.subarray(0, bytesRead);
}

/** An event that is remembered until somebody waits for it, so none is lost between a read and a wait. */
class Pulse {
  #raised = false;
  #wake: (() => void) | undefined;

  raise(): void {
    this.#raised = true;
    this.#wake?.();
  }

  async wait(): Promise<void> {
    if (!this.#raised) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#raised = false;
    this.#wake = undefined;
  }
}
