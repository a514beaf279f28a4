import { type CheckContext, CheckFailure, expectEqual } from '../../../lab/check.js';
import { expectNoLeaks, noExactMemory, noKmemleak } from '../../../lab/kmemleak.js';
import type { LineCheck, ModuleSetup } from '../../../lab/module-checks.js';
import { expectLine, linesOfModule, moduleWords, mustRun, NAME, NODE, withDevice } from '../device.js';
import { probeWords } from '../probe.js';

const ROUNDS = 100;
/** Fewer where the kernel watches every allocation. */
const WATCHED_ROUNDS = 5;
/** KiB that 100 rounds may cost for good: 10 a round, where a lost disk would be 32768. */
const MEMORY = 1024;
/** The same for all rounds: a guest that has just booted still takes some for itself. */
const MEMORY_OF_ROUNDS = 4096;
/** KiB of slab that they may cost: a lost structure of the block layer has more than 1 a round. */
const SLAB = 100;

/** Taking the module out: refused while it is in use, complete otherwise. */
export function unloadChecks(setup: ModuleSetup): LineCheck[] {
  const common = { line: 'unload', machine: 'unload', deadline: 20_000 };
  const bind = (run: (context: CheckContext, setup: ModuleSetup) => Promise<void>) => {
    return (context: CheckContext) => run(context, setup);
  };
  return [
    {
      ...common,
      id: 'rmmod',
      title: 'rmmod logs both of its lines, and the module, its node and its major number are gone',
      run: bind(rmmod),
    },
    {
      ...common,
      id: 'memory-back',
      title: 'after rmmod the memory is back',
      needs: ['rmmod'],
      skip: noExactMemory,
      run: bind(memoryBack),
    },
    {
      ...common,
      id: 'busy',
      title: 'rmmod is refused while the device is open, and the device still works',
      needs: ['rmmod'],
      run: bind(busy),
    },
    {
      ...common,
      id: 'reload',
      title: `${ROUNDS} times loaded and unloaded: memory and slab are as before`,
      deadline: 60_000,
      needs: ['rmmod'],
      skip: noExactMemory,
      run: bind(reload),
    },
    {
      ...common,
      id: 'kmemleak',
      title: 'the leak detector of the kernel finds nothing after use and unloading',
      deadline: 120_000,
      needs: ['rmmod'],
      skip: noKmemleak,
      run: bind(kmemleak),
    },
  ];
}

async function rmmod(context: CheckContext, setup: ModuleSetup): Promise<void> {
  await withDevice(context, setup, '');
  const script = `rmmod ${NAME}\n[ ! -e ${NODE} ] && [ ! -d /sys/block/${NAME} ] && echo gone\ncat /proc/devices`;
  const { stdout, log } = await mustRun(context, script);
  const lines = linesOfModule(log);
  expectLine(lines, 'removing', /^virtblkiosim: Removing module\.\.\.$/);
  expectLine(lines, 'the end', /^virtblkiosim: Device unregistered and removed from the system$/);
  expectEqual('after rmmod', stdout.split('\n')[0], 'gone');
  if (new RegExp(` ${NAME}$`, 'm').test(stdout))
    throw new CheckFailure('/proc/devices still lists the major number', [], 'call unregister_blkdev');
  context.prove('both lines; the node and the major number are gone');
}

const SETTLE = 'sync; echo 3 >/proc/sys/vm/drop_caches; echo 3 >/proc/sys/vm/drop_caches';
/** KiB of free memory and of slab. MemFree lacks the free pages that a CPU keeps for itself, megabytes of them. */
const MEASURE = [
  "awk '/^ +count:/ { free += 4 * $2 } /^MemFree/ { free += $2 } /^Slab/ { slab = $2 }",
  "END { print free; print slab }' /proc/zoneinfo /proc/meminfo",
].join(' ');

/** The rest of a guest that has just booted takes memory as well; what is never given back is missing each time. */
const MEASURED = 4;

async function memoryBack(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const { unload, insmod } = moduleWords(setup);
  // The first load of all also costs what the kernel keeps for good.
  const round = [insmod, unload].join('\n');
  const once = [insmod, 'sync', unload].join('\n');
  const rounds = [await measure(context, [unload, round].join('\n'), once)];
  while (rounds.length < MEASURED && (rounds.at(-1)?.memory ?? 0) > MEMORY) {
    rounds.push(await measure(context, round, once));
  }
  const least = rounds.reduce((a, b) => (b.memory < a.memory ? b : a));
  expectSmall(context, `one round, the best of ${rounds.length},`, least, MEMORY, SLAB);
}

interface Measured {
  /** KiB that are gone. */
  readonly memory: number;
  readonly slab: number;
}

async function measure(
  context: CheckContext,
  before: string,
  script: string,
  timeout?: number,
): Promise<Measured> {
  const whole = [before, SETTLE, MEASURE, script, SETTLE, MEASURE].join('\n');
  const { stdout } = await mustRun(context, whole, timeout);
  const [free = 0, slab = 0, freeAfter = 0, slabAfter = 0] = stdout.trim().split('\n').map(Number);
  context.note(`free ${free} → ${freeAfter} KiB, slab ${slab} → ${slabAfter} KiB`);
  return { memory: free - freeAfter, slab: slabAfter - slab };
}

function expectSmall(
  { prove }: CheckContext,
  what: string,
  { memory, slab }: Measured,
  mostMemory: number,
  mostSlab: number,
): void {
  const shown = `${what} cost ${memory} KiB of memory (${mostMemory} allowed), ${slab} KiB of slab (${mostSlab} allowed)`;
  if (memory > mostMemory || slab > mostSlab)
    throw new CheckFailure(
      'unloading does not give all memory back',
      [shown],
      'free everything in the exit function',
    );
  prove(shown);
}

async function busy(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const text = context.nonce.toString('hex');
  const script = [
    `exec 3<>${NODE}`,
    `rmmod ${NAME} 2>&1 && echo removed || echo refused`,
    `echo ${text} | dd of=${NODE} bs=512 conv=sync,notrunc oflag=direct 2>/dev/null`,
    `dd if=${NODE} bs=512 count=1 iflag=direct 2>/dev/null | head -c ${text.length}`,
    'echo',
    'exec 3>&-',
    `rmmod ${NAME} && echo removed`,
  ];
  const { stdout } = await withDevice(context, setup, script.join('\n'));
  const lines = stdout.trim().split('\n');
  expectEqual(
    'rmmod while open, the sector, rmmod when closed',
    lines.slice(-3).join(' '),
    `refused ${text} removed`,
  );
  context.prove(`${lines[0]}; it still stored a sector; closed, it could be removed`);
}

async function reload(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const { unload, insmod, rmmod: remove, load } = moduleWords(setup);
  const rounds = (count: number) =>
    `i=0; while [ $i -lt ${count} ]; do ${insmod} && ${remove} || exit 1; i=$((i+1)); done`;
  const timeout = 60_000 * context.timeouts.scale;
  // Allocators keep a little of the first rounds for the next ones.
  const measured = await measure(context, `${unload}\n${rounds(5)}`, rounds(ROUNDS), timeout);
  expectSmall(context, `${ROUNDS} rounds`, measured, MEMORY_OF_ROUNDS, SLAB);
  await mustRun(context, `${load}\n[ -b ${NODE} ]`);
  context.prove('afterwards it could be loaded again');
}

async function kmemleak(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const { unload, insmod, rmmod: remove } = moduleWords(setup);
  const use = `${probeWords(setup, 'ioctls', 1)} >/dev/null; ${probeWords(setup, 'clients', 3, 5)} >/dev/null`;
  const round = `${insmod} && ${use}; ${remove} || exit 1`;
  const script = `${unload}; i=0; while [ $i -lt ${WATCHED_ROUNDS} ]; do ${round}; i=$((i+1)); done`;
  await expectNoLeaks(context, script, 110_000 * context.timeouts.scale);
}
