import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LabError } from '../../../errors.js';
import { run } from '../../../host/run.js';
import { CheckFailure } from '../../../lab/check.js';
import { serve } from '../../../nbd/vblk.js';
import type { Scene } from './device-check.js';

/** A device that is served, as qemu-img reads and writes it. */
export interface NbdClient {
  /** The first bytes of the device. */
  readonly read: (length: number) => Promise<Buffer>;
  /** Puts them at the start of the device. */
  readonly write: (data: Buffer) => Promise<void>;
}

/** Serves the device at a unix socket for the time of `use`. */
export async function withClient(
  { device, qemuImg, run: { signal, timeouts } }: Scene,
  use: (client: NbdClient) => Promise<void>,
): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'lab-nbd-'));
  try {
    const socket = join(dir, 'socket');
    await using _server = await serve(device, `unix:${socket}`);
    const file = join(dir, 'data');
    const nbd = `file.driver=nbd,file.server.type=unix,file.server.path=${socket}`;
    const convert = async (...args: readonly string[]) => {
      const options = { signal, timeout: timeouts.hostTool };
      await run(qemuImg, ['convert', ...args], options).catch((error) => Promise.reject(explain(error)));
    };
    await use({
      read: async (length) => {
        await convert('--image-opts', `driver=raw,size=${length},${nbd}`, '-O', 'raw', file);
        return await readFile(file);
      },
      write: async (data) => {
        await writeFile(file, data);
        const target = ['--target-image-opts', `driver=raw,${nbd}`];
        await convert('-n', '-f', 'raw', file, ...target);
      },
    });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function explain(error: unknown): unknown {
  if (!(error instanceof LabError)) return error;
  if (error.code === 'run/failed')
    return new CheckFailure('an NBD client, qemu-img, could not use the device', error.evidence);
  if (error.code !== 'run/timeout') return error;
  return new CheckFailure(
    'an NBD client, qemu-img, did not come to its end',
    error.evidence,
    undefined,
    'timed-out',
  );
}
