import { type Check, type CheckContext, CheckFailure, expectEqual } from '../../../lab/check.js';
import { findPciDevice } from '../../../monitor/parse.js';
import { glibcRandom } from '../glibc-random.js';
import { expectSeeded, numbersOf, runProbe } from '../probe.js';
import { roundsOf } from './boot.js';
import { messages, noModule } from './common.js';

const NODE = '/dev/my_rng_driver';
const LOADED =
  'my_rng_driver loaded, registered ioctls 0x80047101 (get a random number) and 0x40047101 (seed the generator)';

/** The driver: loading, its node, and the sequences that come through it. */
export const driverChecks: readonly Check[] = [
  {
    id: 'insmod',
    title: 'insmod my_rng.ko succeeds and logs exactly one load line with both ioctl numbers',
    deadline: 10_000,
    skip: noModule,
    run: insmod,
  },
  {
    id: 'loaded-line',
    title: 'the kernel log has the load line with both ioctl numbers',
    deadline: 10_000,
    run: loadedLine,
  },
  {
    id: 'major',
    title: '/proc/devices lists my_rng_driver with major 250',
    deadline: 10_000,
    needs: ['loaded-line'],
    run: major,
  },
  {
    id: 'mknod',
    title: 'mknod makes the node, ls -l shows a character device 250, 0, and it opens',
    deadline: 10_000,
    needs: ['major'],
    run: mknod,
  },
  {
    id: 'my-app',
    title: 'my-app prints two equal rounds: the numbers of seed 0',
    deadline: 10_000,
    needs: ['mknod'],
    run: myApp,
  },
  {
    id: 'seed-known',
    title: 'seeds 0x42, 0 and 1 give the numbers that the exercise names',
    deadline: 10_000,
    needs: ['mknod'],
    run: async (context) => void (await seedsGive(context, [0x42, 0, 1], 5)),
  },
  {
    id: 'seed-random',
    title: "seeds that the host chose for this run give glibc's numbers, each seed others, twice the same",
    deadline: 15_000,
    needs: ['mknod'],
    run: randomSeeds,
  },
  {
    id: 'second-witness',
    title: "the host's own read of the register continues the sequence that the guest began",
    deadline: 10_000,
    needs: ['seed-known'],
    run: secondWitness,
  },
];

async function insmod({ guest, signal, prove }: CheckContext): Promise<void> {
  const script = [
    'if [ -d /sys/module/my_rng ]; then rmmod my_rng; fi',
    'before=$(dmesg | wc -l)',
    'insmod /opt/lab/my_rng.ko && lsmod | grep "^my_rng " && dmesg | tail -n +$((before + 1))',
  ].join('\n');
  const { exitCode, stdout, stderr } = await guest.exec(script, { signal });
  if (exitCode !== 0) throw new CheckFailure('insmod failed', `${stdout}${stderr}`.trimEnd().split('\n'));
  const lines = messages(stdout).filter((line) => line.includes('my_rng_driver loaded'));
  expectEqual('the load line', lines.join('\n'), LOADED);
  prove(`insmod exited with 0; lsmod: ${stdout.split('\n')[0]}`);
}

async function loadedLine({ guest, signal, prove }: CheckContext): Promise<void> {
  const { stdout } = await guest.exec(['dmesg'], { signal, check: true });
  const line = messages(stdout).find((text) => text.includes('my_rng_driver loaded'));
  expectEqual('the load line', line, LOADED);
  prove(LOADED);
}

async function major({ guest, signal, prove }: CheckContext): Promise<void> {
  const { stdout } = await guest.exec(['cat', '/proc/devices'], { signal, check: true });
  const line = stdout.split('\n').find((text) => text.includes('my_rng_driver'));
  expectEqual('the line of /proc/devices', line?.trim(), '250 my_rng_driver');
  prove('/proc/devices: 250 my_rng_driver');
}

async function mknod({ guest, signal, prove }: CheckContext): Promise<void> {
  const script = `set -e; rm -f ${NODE}; mknod ${NODE} c 250 0; ls -l ${NODE}; exec 3<>${NODE}; echo opened`;
  const { exitCode, stdout, stderr } = await guest.exec(script, { signal });
  if (exitCode !== 0)
    throw new CheckFailure('the node cannot be made or opened', stderr.trimEnd().split('\n'));
  const [listed = '', opened] = stdout.trimEnd().split('\n');
  if (!/^c[rwx-]{9}\s.*\s250,\s+0\s/.test(listed))
    throw new CheckFailure('ls -l shows something else', [listed]);
  expectEqual('opening the node', opened, 'opened');
  prove(`ls -l: ${listed}; it opened`);
}

async function myApp({ guest, signal, prove }: CheckContext): Promise<void> {
  const { exitCode, stdout, stderr } = await guest.exec(['my-app'], { signal });
  expectEqual('the exit code of my-app', exitCode, 0, stderr.trimEnd());
  expectEqual('the output of my-app', stdout.trimEnd(), roundsOf(0).join('\n'));
  prove(`exit code 0 and two rounds of ${glibcRandom(0, 5).join(' ')}`);
}

async function randomSeeds(context: CheckContext): Promise<void> {
  const { nonce } = context;
  const seeds = [0, 4, 8, 12].map((at) => nonce.readUInt32LE(at));
  // glibc seeds in signed arithmetic: the upper half of the range is where a driver's or device's casts show.
  const large = (nonce.readUInt32LE(16) | 0x8000_0000) >>> 0;
  const rounds = await seedsGive(context, [...seeds, large, ...seeds.slice(0, 1)], 16);
  const different = new Set(rounds.map((numbers) => numbers.join(' ')));
  expectEqual('the number of different sequences', different.size, new Set([...seeds, large]).size);
}

async function seedsGive(
  context: CheckContext,
  seeds: readonly number[],
  count: number,
): Promise<number[][]> {
  const rounds: number[][] = [];
  for (const seed of seeds) {
    const events = await runProbe(context, 'sequence', seed, count);
    expectSeeded(events);
    const numbers = numbersOf(events);
    expectEqual(`the sequence of seed ${seed}`, numbers.join(' '), glibcRandom(seed, count).join(' '));
    context.prove(
      `seed ${seed}: ${numbers.slice(0, 5).join(' ')}${count > 5 ? ` … (${count} equal glibc's)` : ''}`,
    );
    rounds.push(numbers);
  }
  return rounds;
}

/** A driver that computes the numbers itself, or reads ahead, is seen from the outside. */
async function secondWitness(context: CheckContext): Promise<void> {
  const { machine, nonce, prove } = context;
  const seed = nonce.readUInt32LE(20);
  const expected = glibcRandom(seed, 6);
  const address = findPciDevice(await machine.monitor.execute('query-pci'), 0x1234, 0xcafe)?.regions[0]
    ?.address;
  if (address === undefined) throw new CheckFailure('the device has no BAR');
  const first = numbersOf(await runProbe(context, 'sequence', seed, 3));
  const text = await machine.monitor.execute('human-monitor-command', {
    'command-line': `xp /1uw 0x${address.toString(16)}`,
  });
  const witnessed = Number(/:\s+(\d+)/.exec(String(text))?.[1]);
  const last = numbersOf(await runProbe(context, 'read', 2));
  expectEqual(
    'the sequence seen from both sides',
    [...first, witnessed, ...last].join(' '),
    expected.join(' '),
  );
  prove(
    `seed ${seed}: guest read 3, the monitor read ${witnessed} at 0x${address.toString(16)}, the guest read 2 more`,
  );
}
