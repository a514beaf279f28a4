import { createHash, randomBytes } from 'node:crypto';
import { type Check, type CheckContext, CheckFailure, expectEqual } from '../../../lab/check.js';
import { mustRun } from '../../../lab/run-logged.js';
import type { BlockDevice } from '../../../nbd/device.js';
import { faulty, parseFaultScript } from '../../../nbd/vblk.js';
import { attachForGood } from '../attach.js';
import { onUnmount, type VblkSetup } from '../devices.js';
import { attached, limits, NODE, serving } from '../served.js';

const MIB = 1024 * 1024;
/** A block that nothing reads by itself: neither a look for partitions nor a file system. */
const BLOCK = 20_000;

/** How connections end, in good order and otherwise, and what the device is told. */
export function connectionChecks(setup: VblkSetup): readonly Check[] {
  const bind = (run: (context: CheckContext, setup: VblkSetup) => Promise<void>) => (context: CheckContext) =>
    run(context, setup);
  const common = { deadline: 40_000, needs: ['deadbeef'] };
  return [
    {
      ...common,
      id: 'unmount-graceful',
      title: 'unmount is called when the guest detaches, and when the server ends',
      run: bind(unmounts),
    },
    {
      ...common,
      id: 'unmount-broken',
      title: 'a connection that breaks fails the read, calls no unmount, and loses no data',
      run: bind(breaks),
    },
    {
      ...common,
      id: 'reconnect',
      title: 'connections cut at a request and within an answer, while data is verified: nobody notices',
      deadline: 90_000,
      run: bind(reconnects),
    },
  ];
}

async function unmounts(context: CheckContext, { ramdisk }: VblkSetup): Promise<void> {
  let unmounted = 0;
  const device = onUnmount(ramdisk(), () => (unmounted += 1));
  await attached(context, device, {}, async ({ detach, attach, server, events }) => {
    await detach();
    await events.until('unmounted', 1, limits(context));
    expectEqual('calls of unmount after the guest detached', unmounted, 1);
    context.prove('the guest detached: unmount was called once');
    await attach();
    await server.close();
    expectEqual('calls of unmount after the server ended', unmounted, 2);
    context.prove('the server ended while the disk was attached: unmount was called once more');
  });
}

async function breaks(context: CheckContext, { ramdisk }: VblkSetup): Promise<void> {
  const { guest, signal } = context;
  const inner = ramdisk();
  const data = randomBytes(512);
  await inner.write?.(BLOCK * 512, Buffer.from(data));
  let unmounted = 0;
  let faults = 0;
  const script = parseFaultScript(`disconnect block ${BLOCK}`);
  const cut = faulty(inner, script, () => (faults += 1));
  const device = onUnmount(
    oneFault(cut, inner, () => faults > 0),
    () => (unmounted += 1),
  );
  const read = `dd if=${NODE} bs=512 skip=${BLOCK} count=1 2>/dev/null`;
  await attached(context, device, {}, async ({ attach, detach, events }) => {
    await using reader = await guest.spawn(`exec ${read} of=/dev/null`, { signal });
    await events.until('ended', 1, limits(context));
    expectEqual('how the connection ended: gracefully?', events.ends[0], false);
    expectEqual('calls of unmount', unmounted, 0, 'a broken connection is no unmount');
    await detach();
    const { exitCode } = await reader.wait({ signal, timeout: context.timeouts.guestCommand });
    if (exitCode === 0) throw new CheckFailure('the read succeeded over a connection that was cut');
    context.prove(`the connection was cut: dd ended with code ${exitCode}, unmount was not called`);
    await attach();
    const { stdout } = await mustRun(context, `${read} | sha256sum`);
    expectEqual('the SHA-256 of the block', stdout.split(' ')[0], digest(data));
    context.prove(`attached again: the block is what it was, ${digest(data)}`);
  });
}

/** The faulty device until its fault has happened, then the other one. */
function oneFault(cut: BlockDevice, sound: BlockDevice, happened: () => boolean): BlockDevice {
  return {
    blockSize: () => sound.blockSize(),
    blocks: () => sound.blocks(),
    read: (offset, buffer) => (happened() ? sound : cut).read(offset, buffer),
  };
}

/** Bytes that are verified, in pieces of 4 KiB: so many writes, then as many reads. */
const VERIFIED = 2 * MIB;
const FAULTS = 'disconnect request 100\nshort 1000 read request 900';

async function reconnects(context: CheckContext, { ramdisk }: VblkSetup): Promise<void> {
  const { guest, signal } = context;
  const faults: string[] = [];
  const device = faulty(ramdisk(), parseFaultScript(FAULTS), ({ fault }, { kind }, request) =>
    faults.push(`${fault} at request ${request}, a ${kind}`),
  );
  await serving(context, device, {}, async ({ host, port, events }) => {
    const options = { host, port, export: '', node: NODE, patience: 2, signal };
    await using client = await attachForGood(guest, options);
    await events.until('negotiated', 1, limits(context));
    const how = await verify(context);
    expectEqual('the faults that happened', faults.length, 2, faults.join('; '));
    const connections = events.count('negotiated');
    if (connections < 3)
      throw new CheckFailure(
        `there were only ${connections} connections`,
        events.all.map((e) => JSON.stringify(e)),
      );
    await client.kill('TERM');
    const { exitCode } = await client.wait({ signal, timeout: context.timeouts.guestCommand });
    expectEqual('the exit code of vblk-attach', exitCode, 0);
    await events.until('ended', connections, limits(context));
    expectEqual('how the last connection ended: gracefully?', events.ends.at(-1), true);
    context.prove(`${how}; ${faults.join('; ')}; ${connections} connections, by vblk-attach --reconnect`);
  });
}

async function verify(context: CheckContext): Promise<string> {
  const { stdout } = await mustRun(context, 'command -v fio || echo none');
  return stdout.trim() === 'none' ? await byDigest(context) : await byFio(context);
}

async function byFio(context: CheckContext): Promise<string> {
  const job = [
    ...['--name=verify', `--filename=${NODE}`, `--size=${VERIFIED}`, '--bs=4k', '--rw=randwrite'],
    ...['--ioengine=libaio', '--iodepth=4', '--direct=1', '--verify=crc32c', '--verify_fatal=1'],
    ...['--output-format=json'],
  ];
  const { stdout } = await mustRun(context, `fio ${job.join(' ')}`);
  const { jobs, 'fio version': version } = JSON.parse(stdout.slice(stdout.indexOf('{'))) as FioResult;
  const [first] = jobs;
  if (first === undefined) throw new CheckFailure('fio reported no job', stdout.split('\n').slice(0, 10));
  expectEqual("the error of fio's job", first.error, 0);
  expectEqual('the bytes that fio wrote', first.write.io_bytes, VERIFIED);
  expectEqual('the bytes that fio verified', first.read.io_bytes, VERIFIED);
  return `${version} wrote and verified ${VERIFIED} bytes`;
}

interface FioResult {
  readonly 'fio version': string;
  readonly jobs: readonly {
    readonly error: number;
    readonly read: { readonly io_bytes: number };
    readonly write: { readonly io_bytes: number };
  }[];
}

async function byDigest(context: CheckContext): Promise<string> {
  const pieces = VERIFIED / 4096;
  const { stdout } = await mustRun(
    context,
    `dd if=/dev/urandom of=/tmp/data bs=4k count=${pieces} 2>/dev/null
    dd if=/tmp/data of=${NODE} bs=4k conv=fsync 2>/dev/null; blockdev --flushbufs ${NODE}
    sha256sum </tmp/data; dd if=${NODE} bs=4k count=${pieces} 2>/dev/null | sha256sum; rm /tmp/data`,
  );
  const [written, read] = stdout.trim().split('\n');
  expectEqual('the SHA-256 of what is read', read, written);
  return `the guest has no fio; ${VERIFIED} bytes written and read by dd: ${read?.split(' ')[0]}`;
}

function digest(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}
