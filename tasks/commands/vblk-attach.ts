import type { Guest } from '../../src/guest/guest.js';
import type { HotPlugOptions } from '../../src/machine/hot-plug.js';
import type { MachineRecord } from '../../src/machine/record.js';
import type { AnyBlockDevice } from '../../src/nbd/device.js';
import type { VblkServer } from '../../src/nbd/vblk.js';
import { type LayerFlags, openDevice, type Say, sayerOf, sizeOf, untilAborted } from '../vblk-device.js';

export interface AttachFlags extends LayerFlags {
  readonly machine?: string;
  readonly as: string;
  readonly readOnly?: true;
}

/** A device in the guest: its node, what made it, and the way to take it away. */
interface Attached {
  readonly node: string;
  readonly by: string;
  readonly detach: () => Promise<void>;
}

/** What a way of attaching works with. Nothing of it is aborted by Ctrl-C, which has to detach first. */
interface Attaching extends HotPlugOptions {
  readonly record: MachineRecord;
  readonly guest: Guest;
  readonly device: AnyBlockDevice;
  readonly flags: AttachFlags;
  readonly say: Say;
}

/** `lab vblk attach`: a device becomes a disk of the running guest, until Ctrl-C. */
export async function attachDevice(name: string, flags: AttachFlags, interrupt: AbortSignal): Promise<void> {
  const { runningMachine } = await import('../target.js');
  const { withGuest } = await import('../../src/lab/connect.js');
  const { hostTimeouts } = await import('../host.js');
  const record = runningMachine(flags.machine);
  const say = sayerOf(flags);
  await using open = await openDevice(name, flags, say);
  const { device } = open;
  const timeouts = hostTimeouts();
  const { signal } = new AbortController();
  await withGuest(record, timeouts, signal, async (guest) => {
    const attaching = { ...{ record, guest, device, flags, say }, ...{ timeouts, signal } };
    await (flags.as === 'disk' ? asDisk(attaching, interrupt) : asNbd(attaching, interrupt));
  });
}

async function asNbd(attaching: Attaching, interrupt: AbortSignal): Promise<void> {
  const { guest, flags, signal } = attaching;
  const { attachNbd, detachNbd, requireDriver, surveyGuest } = await import('../../src/labs/vblk/attach.js');
  const node = `/dev/${flags.as}`;
  await requireDriver(guest, node, signal);
  const host = await surveyGuest(guest, signal);
  await serving(attaching, `${host.listen}:0`, host.remote, interrupt, async ({ address }) => {
    const port = address.kind === 'tcp' ? address.port : 0;
    const client = await attachNbd(guest, { host, port, export: '', node, signal });
    return { node, by: client, detach: () => detachNbd(guest, { client, node, signal }) };
  });
}

async function asDisk(attaching: Attaching, interrupt: AbortSignal): Promise<void> {
  const { record, guest, device, flags, timeouts, signal } = attaching;
  const { join } = await import('node:path');
  const { attachDisk, detachDisk } = await import('../../src/labs/vblk/attach.js');
  const { attachMachine } = await import('../../src/machine/attach.js');
  const id = `vblk-${process.pid}`;
  const socket = join(record.sockets, id);
  const readOnly = flags.readOnly === true && device.write === undefined;
  // the monitor is held only while it is needed: other commands want it too
  const withMachine = async <T>(use: (live: Parameters<typeof attachDisk>[0]) => Promise<T>): Promise<T> => {
    const machine = await attachMachine(record, { timeouts, signal });
    try {
      return await use({ machine, guest });
    } finally {
      await machine.release();
    }
  };
  await serving(attaching, `unix:${socket}`, false, interrupt, async () => {
    const node = await withMachine((live) =>
      attachDisk(live, { id, socket, export: '', readOnly }, attaching),
    );
    const detach = () => withMachine((live) => detachDisk(live, { id, node }, attaching));
    return { node, by: 'QEMU', detach };
  });
}

/** Serves and attaches, waits for Ctrl-C or for the guest to detach by itself, and leaves in good order. */
async function serving(
  { device, flags, say, guest }: Attaching,
  listen: string,
  allowRemote: boolean,
  interrupt: AbortSignal,
  attach: (server: VblkServer) => Promise<Attached>,
): Promise<void> {
  const { serve } = await import('../../src/nbd/vblk.js');
  const left = new AbortController();
  const onEvent = (event: { readonly type: string; readonly graceful?: boolean }) => {
    say(event);
    if (event.type === 'ended' && event.graceful === true) left.abort();
  };
  const tellReadOnly = flags.readOnly === true;
  await using server = await serve(device, listen, { onEvent, allowRemote, tellReadOnly });
  const { node, by, detach } = await attach(server);
  say({ type: 'attached', node, by, ...sizeOf(device) });
  if (flags.json !== true) process.stdout.write(`\n${node} is there      Ctrl-C takes it away\n`);
  await untilAborted(AbortSignal.any([interrupt, left.signal, guest.death]));
  if (guest.death.aborted) throw guest.death.reason;
  if (!left.signal.aborted) await detach();
  say({ type: 'detached', node });
}
