import { createHash } from 'node:crypto';
import { type CheckContext, expectEqual, expectErrno } from '../../../lab/check.js';
import type { LineCheck, ModuleSetup } from '../../../lab/module-checks.js';
import { BYTES, NAME, NODE, withDevice } from '../device.js';
import { diskDigest } from '../disk-data.js';
import { fioOrOwn } from '../fio.js';
import { eventOf, expectProcesses, runProbe } from '../probe.js';

/** Bytes of each of the files that are to survive an unmount. */
const FILE = 1024 * 1024;

/** Block I/O: what is written is read back. */
export function storageChecks(setup: ModuleSetup): LineCheck[] {
  const common = { line: 'storage', machine: 'storage', deadline: 30_000, needs: ['insmod'] };
  const bind = (run: (context: CheckContext, setup: ModuleSetup) => Promise<void>) => {
    return (context: CheckContext) => run(context, setup);
  };
  return [
    {
      ...common,
      id: 'whole-disk',
      title: "a pattern that the host chose comes back over all 32 MiB: the host's own digest of it",
      run: bind(wholeDisk),
    },
    {
      ...common,
      id: 'fio',
      title: '4 KiB random reads, writes and both, through libaio at depth 16, verified',
      deadline: 90_000,
      run: (context) => fioOrOwn(context, setup),
    },
    {
      ...common,
      id: 'two-users',
      title: 'two processes write and read back a half each, at the same time',
      run: bind(twoUsers),
    },
    {
      ...common,
      id: 'file-system',
      title: 'files on ext4 survive unmounting; the module stays loaded; they are there after mounting again',
      run: bind(fileSystem),
    },
    {
      ...common,
      id: 'partitions',
      title: 'a partition table is read, its partitions appear and store, and it is there when read again',
      run: bind(partitions),
    },
  ];
}

async function wholeDisk(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const key = context.nonce.readUInt32LE(0);
  const { bytes, error } = eventOf(await runProbe(context, setup, 'fill', key), 'filled');
  expectErrno('writing', error, null);
  expectEqual('the bytes written', bytes, BYTES);
  const script = `dd if=${NODE} bs=1M iflag=direct 2>/dev/null | sha256sum`;
  const { stdout } = await withDevice(context, setup, script);
  const digest = stdout.split(' ')[0];
  expectEqual('the SHA-256 of the whole disk', digest, diskDigest(key, BYTES), 'data was lost or moved');
  context.prove(`${bytes} bytes from key ${key}, read back: ${digest}, as the host computed`);
}

async function twoUsers(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const seen = await runProbe(context, setup, 'halves', context.nonce.readUInt32LE(4));
  const bytes = expectProcesses(seen, 2, 'requests of two processes get into each other');
  context.prove(`two processes moved ${bytes} bytes at the same time; every piece came back right`);
}

async function fileSystem(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const text = `${context.nonce.toString('hex')}\n`;
  const file = Buffer.alloc(FILE, text);
  const digest = createHash('sha256').update(file).digest('hex');
  const script = [
    'dir=$(mktemp -d)',
    'trap "umount $dir 2>/dev/null; rmdir $dir" EXIT',
    `mkfs.ext4 -q -F ${NODE}`,
    `mount -t ext4 ${NODE} $dir`,
    `for i in 1 2 3; do yes ${text.trim()} | head -c ${FILE} >$dir/file$i; done`,
    'umount $dir',
    `lsmod | grep -q "^${NAME} "`,
    'echo 3 >/proc/sys/vm/drop_caches',
    `mount -t ext4 ${NODE} $dir`,
    'sha256sum <$dir/file1; sha256sum <$dir/file2; sha256sum <$dir/file3',
  ];
  const { stdout } = await withDevice(context, setup, script.join('\n'));
  const seen = stdout
    .trim()
    .split(/\s*-\s*/)
    .filter(Boolean);
  expectEqual('the digests of the files', seen.join(' '), [digest, digest, digest].join(' '));
  context.prove(`three files of ${FILE} bytes have the digest ${digest} after unmounting and mounting`);
}

interface Partition {
  /** In sectors. */
  readonly start: number;
  readonly sectors: number;
}

const PARTITIONS: readonly Partition[] = [
  { start: 2048, sectors: 20480 },
  { start: 22528, sectors: 43008 },
];

async function partitions(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const table = bootRecord(PARTITIONS).toString('base64');
  const text = context.nonce.toString('hex');
  const list = `lsblk -r -n -b -o NAME,SIZE,TYPE ${NODE}`;
  const script = [
    `echo ${table} | base64 -d | dd of=${NODE} bs=512 oflag=direct 2>/dev/null`,
    `blockdev --rereadpt ${NODE}`,
    list,
    `echo ${text} | dd of=${NODE}2 bs=512 conv=sync oflag=direct 2>/dev/null`,
    `blockdev --rereadpt ${NODE}`,
    list,
    `dd if=${NODE} bs=512 skip=${PARTITIONS[1]?.start} count=1 iflag=direct 2>/dev/null | head -c ${text.length}`,
    `\ndd if=/dev/zero of=${NODE} bs=512 count=1 oflag=direct 2>/dev/null; blockdev --rereadpt ${NODE}`,
  ];
  const { stdout } = await withDevice(context, setup, script.join('\n'));
  const listed = PARTITIONS.map(({ sectors }, i) => `${NAME}${i + 1} ${sectors * 512} part`);
  const once = [`${NAME} ${BYTES} disk`, ...listed];
  expectEqual('lsblk twice and the sector', stdout.trim(), [...once, ...once, text].join('\n'));
  context.prove(`read twice: ${listed.join(', ')}; what the second holds lies at its place on the disk`);
}

/** A sector with a partition table of the PC. */
function bootRecord(entries: readonly Partition[]): Buffer {
  const sector = Buffer.alloc(512);
  for (const [i, { start, sectors }] of entries.entries()) {
    const at = 446 + 16 * i;
    sector.writeUInt8(0x83, at + 4);
    sector.writeUInt32LE(start, at + 8);
    sector.writeUInt32LE(sectors, at + 12);
  }
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}
