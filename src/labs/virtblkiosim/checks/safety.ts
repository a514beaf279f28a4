import { quoteForShell } from '../../../guest/command.js';
import { type CheckContext, CheckFailure, expectEqual, expectErrno, expectTrue } from '../../../lab/check.js';
import type { LineCheck, ModuleSetup } from '../../../lab/module-checks.js';
import { mustRun } from '../../../lab/run-logged.js';
import { BYTES, moduleWords, NODE, withDevice } from '../device.js';
import { eventOf, eventsOf, expectProcesses, type Observed, runProbe } from '../probe.js';
import { expectBlocks } from './ioctl.js';

const CLIENTS = 4;
const BLOCKS = 100;

/** What must not work, and must not do harm. */
export function safetyChecks(setup: ModuleSetup): LineCheck[] {
  const common = { line: 'safety', machine: 'safety', deadline: 20_000 };
  const bind = (run: (context: CheckContext, setup: ModuleSetup) => Promise<void>) => {
    return (context: CheckContext) => run(context, setup);
  };
  return [
    {
      ...common,
      id: 'permission-denied',
      title: 'an ordinary user gets Permission denied',
      run: bind(permissionDenied),
    },
    {
      ...common,
      id: 'unknown-commands',
      title: 'every ioctl but the four fails with ENOTTY and changes nothing',
      run: bind(unknownCommands),
    },
    {
      ...common,
      id: 'clients',
      title: `${CLIENTS} registered processes read and write whole blocks by ioctl at the same time`,
      run: bind(clients),
    },
    {
      ...common,
      id: 'fresh-disk',
      title: 'a disk that was just loaded does not show what others left in memory',
      run: bind(freshDisk),
    },
    {
      ...common,
      id: 'bad-pointers',
      title: 'bad addresses give EFAULT, the disk is unchanged, and the next good call works',
      run: bind(badPointers),
    },
    {
      ...common,
      id: 'beyond-end',
      title:
        "requests past the end fail, in the block layer and, with its own check out of the way, with the driver's EIO",
      run: bind(beyondEnd),
    },
  ];
}

const MODE = 'leave the mode of the node alone: the kernel makes it for root, and udev decides about others';

async function permissionDenied(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const tries = [`dd if=${NODE} of=/dev/null bs=512 count=1`, `dd if=/dev/zero of=${NODE} bs=512 count=1`];
  const script = tries.map((words) => `su -s /bin/sh nobody -c '${words}' 2>&1 || true`);
  const { stdout } = await withDevice(context, setup, script.join('\n'));
  const lines = stdout.trim().split('\n');
  const denied = lines.filter((line) => line.includes('Permission denied'));
  if (denied.length !== tries.length || denied.length !== lines.length)
    throw new CheckFailure('an ordinary user may use the device', lines, MODE);
  context.prove(denied.join('; '));
}

async function unknownCommands(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const seen = await runProbe(context, setup, 'commands');
  const tried = eventsOf(seen, 'command');
  for (const { name, request, error, intact } of tried) {
    expectErrno(`command ${request} (${name})`, error, 'ENOTTY');
    expectTrue(intact, `${name} changed the user's memory`);
  }
  if (tried.length === 0) throw new CheckFailure('the probe tried no command');
  context.prove(
    `${tried.length} foreign commands gave ENOTTY; the sum over the disk stayed ${unchanged(seen)}`,
  );
}

/** The sum over the whole disk, which must be the same before and after. */
function unchanged(seen: Observed): string {
  const [before, after] = eventsOf(seen, 'sum');
  if (before === undefined || after === undefined) throw new CheckFailure('the probe did not read the disk');
  expectEqual('the errors of reading the disk', `${before.error} ${after.error}`, 'null null');
  expectEqual('the sum over the disk', after.sum, before.sum, 'a call that failed has changed the disk');
  return after.sum;
}

async function clients(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const seen = await runProbe(context, setup, 'clients', CLIENTS, BLOCKS);
  const blocks = expectProcesses(seen, CLIENTS, 'a block was mixed from two writes, or was not read at all');
  expectEqual('blocks written and read', blocks, CLIENTS * BLOCKS);
  context.prove(`${CLIENTS} processes, ${blocks} blocks, each whole`);
}

/** The memory that a disk gives back is what the next one most likely gets: uncleared, it shows the old disk's data. */
async function freshDisk(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const { unload } = moduleWords(setup);
  const { bytes, error: problem } = eventOf(await runProbe(context, setup, 'stale'), 'filled');
  expectErrno('writing', problem, null);
  await mustRun(context, unload);
  const { stale, nonzero, error } = eventOf(await runProbe(context, setup, 'sum'), 'sum');
  expectErrno('reading the disk', error, null);
  const hint = 'memory with data of others can be read from the disk: allocate it cleared';
  expectEqual('words of the fresh disk that memory held before', stale, 0, hint);
  context.prove(
    `${bytes} bytes of a mark went with the old disk; the fresh one shows none (${nonzero} words not zero)`,
  );
}

async function badPointers(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const { stdout } = await withDevice(context, setup, 'grep -c -w smap /proc/cpuinfo || true');
  if (Number(stdout) === 0)
    throw new CheckFailure("the guest's CPU has no SMAP: a raw user pointer would go unnoticed");
  const seen = await runProbe(context, setup, 'bad-pointers', context.nonce.readUInt32LE(16));
  const tried = eventsOf(seen, 'tried');
  for (const { command, case: name, address, error } of tried) {
    expectErrno(`${command} at ${name} (${address})`, error, 'EFAULT');
  }
  if (tried.length === 0) throw new CheckFailure('the probe tried no address');
  expectTrue(eventOf(seen, 'read-only-page').intact, 'a page that user space may only read was written to');
  const sum = unchanged(seen);
  expectBlocks(seen);
  context.prove(
    `${tried.length} bad addresses gave EFAULT with SMAP on; the sum over the disk stayed ${sum}`,
  );
  context.prove('afterwards blocks were written and read back');
}

/** Without our module that stretches the disk, only the block layer's own answers are seen, and the proof says so. */
async function beyondEnd(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const layer = eventsOf(await runProbe(context, setup, 'beyond', BYTES), 'beyond');
  const beyond = layer.filter(({ offset }) => offset >= BYTES);
  for (const { call, offset, result, error } of beyond) {
    const expected = call === 'read' ? '0 null' : '-1 ENOSPC';
    expectEqual(`what the ${call} at ${offset} gives`, `${result} ${error}`, expected);
  }
  context.prove(`the block layer itself: ${beyond.length} requests past ${BYTES} transfer nothing`);
  const stretch = setup.programs['virtblkiosim_stretch.ko'];
  if (stretch === undefined)
    return context.note('no module that stretches the disk: the driver saw none of them');
  await stretched(context, setup, stretch);
}

async function stretched(context: CheckContext, setup: ModuleSetup, stretch: string): Promise<void> {
  await withDevice(context, setup, `insmod ${quoteForShell(stretch)}`);
  try {
    const seen = eventsOf(await runProbe(context, setup, 'beyond', BYTES), 'beyond');
    const hint =
      'the driver must compare position and length of a request with its storage, and end it with an error';
    for (const { call, offset, bytes, result, error } of seen) {
      const what = `what the driver makes of a ${call} of ${bytes} bytes at ${offset}`;
      expectEqual(what, `${result} ${error}`, '-1 EIO', hint);
    }
    if (seen.length === 0) throw new CheckFailure('the probe made no request');
    context.prove(`the driver, taken for 2 MiB larger: ${seen.length} requests over its end gave EIO`);
  } finally {
    if (!context.signal.aborted) await mustRun(context, 'rmmod virtblkiosim_stretch');
  }
}
