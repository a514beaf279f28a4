import { createHash, randomBytes } from 'node:crypto';
import { type Check, type CheckContext, CheckFailure, expectEqual } from '../../../lab/check.js';
import { mustRun } from '../../../lab/run-logged.js';
import { type LogEntry, logged } from '../../../nbd/vblk.js';
import { contents, inBlocksOf, type VblkSetup } from '../devices.js';
import { attached, NODE, probe } from '../served.js';

const MIB = 1024 * 1024;

/** Forgets what the guest's memory holds of the disk. */
const FORGET = `blockdev --flushbufs ${NODE}; echo 3 >/proc/sys/vm/drop_caches`;

/** The example that keeps what is written. */
export function ramdiskChecks(setup: VblkSetup): readonly Check[] {
  const bind = (run: (context: CheckContext, setup: VblkSetup) => Promise<void>) => (context: CheckContext) =>
    run(context, setup);
  const common = { deadline: 40_000, needs: ['deadbeef'] };
  return [
    {
      ...common,
      id: 'ramdisk-data',
      title: 'random data of the host, written by the guest, is in the device and is read back',
      run: bind(keepsData),
    },
    {
      ...common,
      id: 'ramdisk-file-system',
      title: 'files on ext4 survive unmounting, detaching and attaching again',
      run: bind(fileSystem),
    },
    {
      ...common,
      id: 'ramdisk-flush',
      title: 'fsync in the guest calls flush, after the write that it is about',
      run: bind(flushes),
    },
    {
      ...common,
      id: 'ramdisk-trim',
      title: 'blkdiscard and fstrim call trim, for the range that is meant',
      run: bind(trims),
    },
    {
      ...common,
      id: 'partial-blocks',
      title: 'a device of 4096-byte blocks under a disk of 512-byte sectors: no neighbour is changed',
      run: bind(partialBlocks),
    },
  ];
}

async function keepsData(context: CheckContext, { ramdisk }: VblkSetup): Promise<void> {
  const { guest, signal } = context;
  const device = ramdisk();
  const data = randomBytes(2 * MIB);
  const sum = digest(data);
  await attached(context, device, {}, async ({ client }) => {
    const write = `dd of=${NODE} bs=64k seek=16 conv=fsync 2>&1`;
    await guest.exec(write, { input: data, signal, check: true });
    const kept = digest(await contents(device, MIB, data.length));
    expectEqual('the SHA-256 of what the device got', kept, sum, 'writes are lost, or go elsewhere');
    const read = `${FORGET}; dd if=${NODE} bs=64k skip=16 count=32 2>/dev/null | sha256sum`;
    const { stdout } = await mustRun(context, read);
    expectEqual('the SHA-256 of what the guest reads', stdout.split(' ')[0], sum);
    context.prove(`${data.length} random bytes by ${client}: ${sum} in the device and in the guest`);
  });
}

async function fileSystem(context: CheckContext, { ramdisk }: VblkSetup): Promise<void> {
  const text = context.nonce.toString('hex');
  const file = Buffer.alloc(MIB, `${text}\n`);
  const files = '$dir/a $dir/b $dir/c';
  await attached(context, ramdisk(), {}, async ({ attach, detach }) => {
    const mount = `dir=$(mktemp -d); trap 'umount $dir 2>/dev/null || :; rmdir $dir' EXIT; mount -t ext4 ${NODE} $dir`;
    const fill = `for f in ${files}; do yes ${text} | head -c ${MIB} >$f; done; umount $dir`;
    await mustRun(context, `mkfs.ext4 -q -F ${NODE}\n${mount}\n${fill}`);
    await detach();
    await attach();
    const read = `for f in ${files}; do sha256sum <$f; done; umount $dir; e2fsck -fn ${NODE} 2>&1 | tail -n 1`;
    const { stdout } = await mustRun(context, `${mount}\n${read}`);
    const lines = stdout.trim().split('\n');
    const sums = lines.slice(0, 3).map((line) => line.split(' ')[0]);
    expectEqual('the SHA-256 of the three files', sums.join(' '), Array(3).fill(digest(file)).join(' '));
    context.prove(`three files of 1 MiB, attached again: ${digest(file)}; e2fsck: ${lines[3]}`);
  });
}

async function flushes(context: CheckContext, { ramdisk }: VblkSetup): Promise<void> {
  const log: LogEntry[] = [];
  const device = logged(ramdisk(), (entry) => log.push(entry));
  await attached(context, device, {}, async () => {
    await mustRun(context, `dd if=/dev/zero of=${NODE} bs=4096 seek=7 count=1 conv=fsync 2>/dev/null`);
    const write = log.findLastIndex(({ kind }) => kind === 'write');
    const flush = log.findLastIndex(({ kind }) => kind === 'flush');
    if (write === -1 || flush < write)
      throw new CheckFailure(
        'fsync did not reach the flush handler',
        sayAll(log),
        'does the device have flush()?',
      );
    context.prove(`dd conv=fsync: ${sayAll(log.slice(write, flush + 1)).join(', then ')}`);
  });
}

async function trims(context: CheckContext, { ramdisk }: VblkSetup): Promise<void> {
  const log: LogEntry[] = [];
  const inner = ramdisk();
  const around = randomBytes(2 * MIB);
  for (const at of AROUND) await inner.write?.(at, Buffer.from(around));
  const device = logged(inner, (entry) => log.push(entry));
  const trimmed = () => log.filter(({ kind }) => kind === 'trim');
  await attached(context, device, {}, async () => {
    await mustRun(context, `blkdiscard -o ${2 * MIB} -l ${2 * MIB} ${NODE}`);
    const bytes = trimmed().reduce((sum, { length }) => sum + length, 0);
    const first = Math.min(...trimmed().map(({ offset }) => offset));
    if (bytes !== 2 * MIB || first !== 2 * MIB)
      throw new CheckFailure('blkdiscard did not reach the trim handler as it was meant', sayAll(log));
    for (const at of AROUND) {
      const kept = digest(await contents(inner, at, around.length));
      expectEqual(`the SHA-256 of what stands from byte ${at} on`, kept, digest(around), 'trim went too far');
    }
    context.prove(`blkdiscard: ${sayAll(trimmed()).join(', ')}; what stands before and after is kept`);
    log.length = 0;
    const said = await trimFileSystem(context);
    if (trimmed().length === 0) throw new CheckFailure('fstrim did not reach the trim handler', sayAll(log));
    context.prove(`fstrim: ${trimmed().length} trims; it says: ${said}`);
  });
}

/** Where 2 MiB stand before and after the 2 MiB that are discarded. */
const AROUND = [0, 4 * MIB];

async function trimFileSystem(context: CheckContext): Promise<string> {
  const script = `mkfs.ext4 -q -F -E nodiscard ${NODE}
dir=$(mktemp -d); trap 'umount $dir; rmdir $dir' EXIT
mount -t ext4 ${NODE} $dir
fstrim -v $dir`;
  return (await mustRun(context, script)).stdout.trim();
}

async function partialBlocks(context: CheckContext, { ramdisk }: VblkSetup): Promise<void> {
  const BLOCK = 4096;
  const device = ramdisk();
  const expected = randomBytes(MIB);
  await device.write?.(0, Buffer.from(expected));
  const log: LogEntry[] = [];
  const large = logged(inBlocksOf(BLOCK, device), (entry) => log.push(entry));
  const sectors = [3, 13, 14, 15, 16, 100, 2047];
  for (const sector of sectors) expected.fill('p', sector * 512, (sector + 1) * 512);
  await attached(context, large, { block: 512 }, async () => {
    for (const from of sectors) await probe(context, { bytes: 512, from, count: 1 }, 'p');
    const read = `${FORGET}; dd if=${NODE} bs=64k count=16 2>/dev/null | sha256sum`;
    const { stdout } = await mustRun(context, read);
    const crooked = log.filter(({ offset, length }) => offset % BLOCK !== 0 || length % BLOCK !== 0);
    if (crooked.length > 0) throw new CheckFailure('the device got parts of blocks', sayAll(crooked));
    expectEqual('the SHA-256 of what the guest reads', stdout.split(' ')[0], digest(expected));
    const kept = digest(await contents(device, 0, MIB));
    expectEqual('the SHA-256 of what the device holds', kept, digest(expected));
    const written = log.filter(({ kind }) => kind === 'write').length;
    context.prove(
      `sectors ${sectors.join(', ')} in ${written} writes of whole blocks; 1 MiB as expected: ${kept}`,
    );
  });
}

function digest(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}

function sayAll(log: readonly LogEntry[]): string[] {
  return log.slice(-12).map(({ kind, offset, length }) => `${kind} of ${length} bytes at ${offset}`);
}
