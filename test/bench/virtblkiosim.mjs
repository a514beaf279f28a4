// Compares the block device with the kernel's own devices in memory, side by side in one guest: fio, 4 KiB random reads
// and writes, libaio, depth 16, direct. The devices take turns in every round, so that whatever else the host does meets
// all of them. Asserts nothing. Run it on an idle host: `node test/bench/virtblkiosim.mjs [rounds] [seconds]`.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { $, cd } from 'zx';

const [rounds = 7, seconds = 3] = process.argv.filter((arg) => /^\d+$/.test(arg)).map(Number);
const NAME = 'bench';
const KINDS = ['randread', 'randwrite'];

cd(join(import.meta.dirname, '../..'));
const state = await mkdtemp(join(tmpdir(), 'lab-bench-'));
process.env.CI = 'true';
process.env.LAB_STATE = state;
$.quiet = true;

const guest = (script) => $`./lab exec -m ${NAME} -- sh -c ${script}`;

/** What `brd` and `null_blk` must be like to be compared: as large, and with storage. */
const SETUP = `set -e
echo 0 >/sys/module/virtblkiosim/parameters/log
modprobe brd rd_nr=1 rd_size=32768
modprobe null_blk nr_devices=0
[ -d /sys/kernel/config/nullb ] || mount -t configfs none /sys/kernel/config
mkdir /sys/kernel/config/nullb/nullb0
cd /sys/kernel/config/nullb/nullb0
echo 1 >memory_backed; echo 32 >size; echo 512 >blocksize; echo 2 >queue_mode; echo 1 >power
for disk in /dev/virtblkiosim /dev/ram0 /dev/nullb0; do
  dd if=/dev/zero of=$disk bs=1M count=32 oflag=direct 2>/dev/null
  echo $disk
done`;

const requests = { randread: 7, randwrite: 48 };

async function measure(disk, kind) {
  const fio = `fio --minimal --name=bench --filename=${disk} --rw=${kind} --bs=4k --ioengine=libaio --iodepth=16 --direct=1 --size=32m --time_based --runtime=${seconds}`;
  const { stdout } = await guest(fio);
  return Number(stdout.trim().split('\n').at(-1).split(';')[requests[kind]]);
}

function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

try {
  await $`./lab up virtblkiosim --name ${NAME}`;
  const disks = (await guest(SETUP)).stdout.trim().split('\n');
  const [ours] = disks;
  const results = new Map();
  for (let round = 0; round < rounds; round += 1) {
    for (const kind of KINDS) {
      for (const disk of round % 2 === 0 ? disks : disks.toReversed()) {
        const key = `${kind} ${disk}`;
        results.set(key, [...(results.get(key) ?? []), await measure(disk, kind)]);
      }
    }
  }
  console.log(
    `fio, 4 KiB, libaio, depth 16: requests per second, median of ${rounds} rounds of ${seconds} s`,
  );
  for (const kind of KINDS) {
    const own = results.get(`${kind} ${ours}`);
    for (const disk of disks) {
      const values = results.get(`${kind} ${disk}`);
      const ratio = median(own.map((value, round) => value / values[round]));
      const range = `(${Math.min(...values)} to ${Math.max(...values)})`;
      const against = disk === ours ? '' : `virtblkiosim has ${ratio.toFixed(2)} × as many`;
      console.log(
        `${kind.padEnd(10)} ${disk.padEnd(18)} ${String(median(values)).padStart(8)} ${range.padEnd(20)} ${against}`,
      );
    }
  }
} finally {
  await $`./lab down --all --force`.nothrow();
  await rm(state, { recursive: true, force: true });
}
