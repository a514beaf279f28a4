/**
 * Block devices whose reads and writes call your code: what a device of your own is written against.
 *
 * ```ts
 * import { type BlockDevice, serve } from 'lab/vblk';
 *
 * class Zeros implements BlockDevice {
 *   blockSize() { return 512; }
 *   blocks() { return 2048; }
 *   read(_offset: number, buffer: Buffer) { buffer.fill(0); }
 * }
 *
 * await using server = await serve(new Zeros(), 'unix:/tmp/zeros.sock');
 * console.log(server.uri());
 * await server.interrupted();
 * ```
 */
import { once } from 'node:events';
import { parseAddress } from './address.js';
import type { AnyBlockDevice } from './device.js';
import { type NbdServer, type ServeOptions, serve as serveAt } from './server.js';

export { type AnyBlockDevice, type BlockDevice, ConnectionCut, DeviceError, type Extent } from './device.js';
export { type Fault, faulty, parseFaultScript, type When } from './devices/faulty.js';
export { fromFile } from './devices/file.js';
export { delayed, type LogEntry, logged, overlay } from './devices/layers.js';
export { sparse } from './devices/memory.js';
export type { ServerEvent } from './server.js';

/** A server that runs until it is closed or disposed of. */
export interface VblkServer extends NbdServer {
  /** Ends when this process is interrupted (SIGINT, SIGTERM); then close the server. */
  interrupted(): Promise<void>;
}

/**
 * Serves a device, or several by name, over NBD.
 *
 * @param listen `unix:PATH`, `127.0.0.1:PORT`, or a port of this host; by default a port that the system chooses.
 * @throws LabError `nbd/address`, `nbd/device`, `nbd/remote`, `nbd/listen`.
 */
export async function serve(
  devices: AnyBlockDevice | Readonly<Record<string, AnyBlockDevice>>,
  listen = '127.0.0.1:0',
  options: Omit<ServeOptions, 'address'> = {},
): Promise<VblkServer> {
  const server = await serveAt(devices, { ...options, address: parseAddress(listen) });
  const interrupted = async () => {
    const over = new AbortController();
    await Promise.race(['SIGINT', 'SIGTERM'].map((name) => once(process, name, over)));
    over.abort();
  };
  return Object.assign(server, { interrupted });
}
