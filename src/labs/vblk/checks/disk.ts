import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { type Check, type CheckContext, CheckFailure, expectEqual } from '../../../lab/check.js';
import { mustRun } from '../../../lab/run-logged.js';
import type { BlockDevice } from '../../../nbd/device.js';
import { faulty, parseFaultScript, serve } from '../../../nbd/vblk.js';
import { attachDisk, detachDisk } from '../attach.js';
import { contents, type VblkSetup } from '../devices.js';
import { ServerEvents } from '../events.js';
import { attached, limits, NODE, probe } from '../served.js';

const MIB = 1024 * 1024;
const ID = 'vblk-check';
/** A block of 512 bytes that nothing reads by itself. */
const BAD = 30_000;

/** The same devices as disks of the machine, by QEMU's NBD client. */
export function diskChecks(setup: VblkSetup): readonly Check[] {
  const bind = (run: (context: CheckContext, setup: VblkSetup) => Promise<void>) => (context: CheckContext) =>
    run(context, setup);
  const common = { deadline: 60_000, needs: ['deadbeef'] };
  return [
    {
      ...common,
      id: 'disk',
      title:
        'a disk is added to the running machine and taken away; what was written by one way is read by the other',
      run: bind(comesAndGoes),
    },
    {
      ...common,
      id: 'disk-faults',
      title: 'EIO at a block of the device is EIO at that sector of the disk',
      run: bind(fails),
    },
  ];
}

async function comesAndGoes(context: CheckContext, { ramdisk }: VblkSetup): Promise<void> {
  const { guest, signal } = context;
  const device = ramdisk();
  const bytes = device.blocks() * device.blockSize();
  const [first, second] = [randomBytes(MIB), randomBytes(MIB)];
  await attached(context, device, {}, async () => {
    await guest.exec(`dd of=${NODE} bs=64k conv=fsync 2>&1`, { input: first, signal, check: true });
  });
  const events = await asDisk(context, device, async (node) => {
    const { stdout } = await mustRun(context, `lsblk -bdno NAME,SIZE,TYPE ${node}; ${digestOf(node)}`);
    const [row = '', sum = ''] = stdout.trim().split('\n');
    expectEqual('what lsblk says', row.split(/\s+/).join(' '), `${node.slice(5)} ${bytes} disk`);
    expectEqual('the SHA-256 of what was written as /dev/nbd0', sum.split(' ')[0], digest(first));
    await guest.exec(`dd of=${node} bs=64k conv=fsync 2>&1`, { input: second, signal, check: true });
    context.prove(`lsblk: ${row}; the first MiB is what was written as ${NODE}: ${digest(first)}`);
  });
  expectEqual('how QEMU left', events.ends.join(', '), 'true');
  expectEqual('the unmounts', events.count('unmounted'), 1);
  const gone = await guest.exec(`grep -l ${ID} /sys/block/vd*/serial`, { signal });
  if (gone.exitCode === 0) throw new CheckFailure('the disk is still there', [gone.stdout]);
  const kept = digest(await contents(device, 0, MIB));
  expectEqual('the SHA-256 of what the device holds', kept, digest(second));
  await asDisk(context, device, async (node) => {
    const { stdout } = await mustRun(context, digestOf(node));
    expectEqual('the SHA-256 of what is there after adding it again', stdout.split(' ')[0], digest(second));
  });
  context.prove(
    `taken away in good order; what the disk was given is in the device, and there again: ${kept}`,
  );
}

async function fails(context: CheckContext, { ramdisk }: VblkSetup): Promise<void> {
  const device = faulty(ramdisk(), parseFaultScript(`error EIO block ${BAD}`));
  await asDisk(context, device, async (node) => {
    const { failed, count, log } = await probe(context, { node, bytes: 512, from: BAD - 50, count: 100 });
    const said = failed.map(({ piece, error }) => `${piece} ${error}`).join(', ');
    expectEqual('the sectors that cannot be read', said, `${BAD} EIO`);
    const line = log.find((each) => each.includes(`I/O error, dev ${node.slice(5)}, sector ${BAD} `));
    if (line === undefined) throw new CheckFailure('the kernel logged no I/O error of that sector', log);
    context.prove(`of ${count} sectors, only ${BAD} cannot be read; dmesg: ${line}`);
  });
}

/** Serves a device to QEMU as a disk for the time of `use`; tells what the server saw. */
async function asDisk(
  context: CheckContext,
  device: BlockDevice,
  use: (node: string) => Promise<void>,
): Promise<ServerEvents> {
  const { machine } = context;
  const events = new ServerEvents();
  const socket = join(machine.files.sockets, 'vblk');
  await using server = await serve(device, `unix:${socket}`, { onEvent: events.add });
  const node = await attachDisk(context, { id: ID, socket, export: '', readOnly: false }, context);
  try {
    await use(node);
  } finally {
    await detachDisk(context, { id: ID, node }, context);
  }
  await events.until('ended', 1, limits(context));
  await server.close();
  return events;
}

function digestOf(node: string): string {
  return `dd if=${node} bs=64k count=16 2>/dev/null | sha256sum`;
}

function digest(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}
