import { type CheckContext, CheckFailure } from '../../lab/check.js';
import { mustRun } from '../../lab/run-logged.js';
import type { BlockDevice } from '../../nbd/device.js';
import { serve, type VblkServer } from '../../nbd/vblk.js';
import { attachNbd, type Client, detachNbd, type Surroundings, surveyGuest } from './attach.js';
import { ServerEvents } from './events.js';

export const NODE = '/dev/nbd0';

/** How long a check waits for an event of a server. */
export function limits({ timeouts, signal }: CheckContext) {
  return { timeout: timeouts.guestCommand, signal };
}

export interface ServedOptions {
  /** Tell the kernel that a device without `write` is read-only; default true. */
  readonly tellReadOnly?: boolean;
}

export interface AttachedOptions extends ServedOptions {
  readonly client?: Client;
  /** Bytes. */
  readonly block?: number;
  /** Seconds. */
  readonly patience?: number;
}

/** A device that is served by this process. */
export interface Served {
  readonly server: VblkServer;
  readonly host: Surroundings;
  readonly port: number;
  readonly events: ServerEvents;
}

/** A device that is served, and that is a disk of the guest. */
export interface Attached extends Served {
  readonly client: Client;
  /** Takes the disk away in good order, and waits until the server has seen it. */
  readonly detach: () => Promise<void>;
  readonly attach: () => Promise<void>;
}

/** Serves a device to the guest for the time of `use`. */
export async function serving<T>(
  { guest, signal }: CheckContext,
  device: BlockDevice,
  options: ServedOptions,
  use: (served: Served) => Promise<T>,
): Promise<T> {
  const host = await surveyGuest(guest, signal);
  const events = new ServerEvents();
  const { tellReadOnly = true } = options;
  await using server = await serve(device, `${host.listen}:0`, {
    ...{ onEvent: events.add, allowRemote: host.remote, tellReadOnly },
  });
  if (server.address.kind !== 'tcp') throw new TypeError('the server has no port');
  return await use({ server, host, port: server.address.port, events });
}

/** Serves a device and attaches it as /dev/nbd0 for the time of `use`; whatever happens, it is detached then. */
export async function attached<T>(
  context: CheckContext,
  device: BlockDevice,
  options: AttachedOptions,
  use: (attached: Attached) => Promise<T>,
): Promise<T> {
  return await serving(context, device, options, async (served) => {
    const disk = new Disk(context, served, options);
    await disk.attach();
    try {
      const result = await use(disk);
      await disk.detach();
      return result;
    } catch (error) {
      await disk.detach().catch(() => {}); // the first error says what is wrong
      throw error;
    }
  });
}

class Disk implements Attached {
  readonly server: VblkServer;
  readonly host: Surroundings;
  readonly port: number;
  readonly events: ServerEvents;
  client: Client = 'vblk-attach';
  readonly #context: CheckContext;
  readonly #options: AttachedOptions;
  #ended: number | undefined;

  constructor(context: CheckContext, { server, host, port, events }: Served, options: AttachedOptions) {
    this.server = server;
    this.host = host;
    this.port = port;
    this.events = events;
    this.#context = context;
    this.#options = options;
  }

  readonly attach = async (): Promise<void> => {
    const { guest, signal } = this.#context;
    const { client, block, patience } = this.#options;
    this.#ended = this.events.count('ended') + 1;
    this.client = await attachNbd(guest, {
      ...{ host: this.host, port: this.port, export: '', node: NODE, signal },
      ...(client === undefined ? {} : { client }),
      ...(block === undefined ? {} : { block }),
      ...(patience === undefined ? {} : { patience }),
    });
  };

  readonly detach = async (): Promise<void> => {
    const { guest, signal, timeouts } = this.#context;
    if (this.#ended === undefined) return;
    const ended = this.#ended;
    this.#ended = undefined;
    await detachNbd(guest, { client: this.client, node: NODE, signal });
    await this.events.until('ended', ended, { timeout: timeouts.guestCommand, signal });
  };
}

/** What the lab's probe found: numbers of the pieces that failed, and with which error. */
export interface Probed {
  readonly failed: readonly { readonly piece: number; readonly error: string }[];
  readonly count: number;
  /** What the kernel logged meanwhile. */
  readonly log: readonly string[];
}

/**
 * Reads `count` pieces of so many bytes, each by one request that the guest's memory cannot answer; with a letter
 * writes them, full of it.
 */
export async function probe(
  context: CheckContext,
  where: { readonly node?: string; readonly bytes: number; readonly from: number; readonly count: number },
  letter?: string,
): Promise<Probed> {
  const { node = NODE, bytes, from, count } = where;
  const words = [letter === undefined ? 'read' : 'write', node, bytes, from, count, letter ?? ''];
  const { stdout, log } = await mustRun(context, `vblk-probe ${words.join(' ')}`);
  return { ...parseProbe(stdout), log };
}

/** Pure. @throws CheckFailure when the last line is missing: the probe did not get to its end. */
export function parseProbe(output: string): Omit<Probed, 'log'> {
  const lines = output.trim().split('\n');
  const [, failures, count] = /^(\d+) of (\d+) failed$/.exec(lines.pop() ?? '') ?? [];
  const failed = lines.filter(Boolean).map((line) => {
    const [piece = '', error = ''] = line.split(' ');
    return { piece: Number(piece), error };
  });
  if (failed.length !== Number(failures))
    throw new CheckFailure('the probe of the disk was cut short', output.split('\n').slice(-5));
  return { failed, count: Number(count) };
}
