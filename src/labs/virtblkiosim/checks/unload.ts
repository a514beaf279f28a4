import { type CheckContext, CheckFailure, expectEqual } from '../../../lab/check.js';
import { expectNoLeaks, noExactMemory, noKmemleak } from '../../../lab/kmemleak.js';
import { expectMemoryBack } from '../../../lab/memory.js';
import type { LineCheck, ModuleSetup } from '../../../lab/module-checks.js';
import { mustRun } from '../../../lab/run-logged.js';
import { expectLine, linesOfModule, moduleWords, NAME, NODE, withDevice } from '../device.js';
import { probeWords } from '../probe.js';

/** Fewer where the kernel watches every allocation. */
const WATCHED_ROUNDS = 5;
/**
 * Taking the module out: refused while it is in use, complete otherwise.
 *
 * @param rounds of loading and unloading
 */
export function unloadChecks(setup: ModuleSetup, rounds: number): LineCheck[] {
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
      title: `${rounds} times loaded and unloaded: memory and slab are as before`,
      deadline: 60_000,
      needs: ['rmmod'],
      skip: noExactMemory,
      run: (context) => reload(context, setup, rounds),
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
  expectLine(lines, 'removing', 'virtblkiosim: Removing module...');
  expectLine(lines, 'the end', 'virtblkiosim: Device unregistered and removed from the system');
  expectEqual('after rmmod', stdout.split('\n')[0], 'gone');
  if (new RegExp(` ${NAME}$`, 'm').test(stdout))
    throw new CheckFailure('/proc/devices still lists the major number', [], 'call unregister_blkdev');
  context.prove('both lines; the node and the major number are gone');
}

async function memoryBack(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const { unload, insmod } = moduleWords(setup);
  // The first load of all also costs what the kernel keeps for good.
  const round = [insmod, unload].join('\n');
  const once = [insmod, 'sync', unload].join('\n');
  const before = [unload, round].join('\n');
  await expectMemoryBack(context, { what: 'one round', before, script: once });
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

async function reload(context: CheckContext, setup: ModuleSetup, count: number): Promise<void> {
  const { unload, insmod, rmmod: remove, load } = moduleWords(setup);
  const rounds = (n: number) =>
    `i=0; while [ $i -lt ${n} ]; do ${insmod} && ${remove} || exit 1; i=$((i+1)); done`;
  const timeout = 60_000 * context.timeouts.scale;
  // Allocators keep a little of the first rounds for the next ones.
  const before = `${unload}\n${rounds(5)}`;
  await expectMemoryBack(context, { what: `${count} rounds`, before, script: rounds(count), timeout });
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
