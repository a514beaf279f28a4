import { quoteForShell } from '../../../guest/command.js';
import { type CheckContext, CheckFailure, expectEqual } from '../../../lab/check.js';
import type { LineCheck, ModuleSetup } from '../../../lab/module-checks.js';
import { mustRun } from '../../../lab/run-logged.js';
import { BYTES, linesOfModule, moduleWords, NAME, NODE, withDevice } from '../device.js';
import { eventOf, eventsOf, probeWords, runProbe } from '../probe.js';

const LOOPS = 50;
const POSITIONS = 20;

/** What our own module and tool promise beyond the exercise. */
export function extraChecks(setup: ModuleSetup): LineCheck[] {
  const common = { line: 'extras', machine: 'extras', deadline: 20_000 };
  const bind = (run: (context: CheckContext, setup: ModuleSetup) => Promise<void>) => {
    return (context: CheckContext) => run(context, setup);
  };
  return [
    {
      ...common,
      id: 'tool',
      title: 'the user tool registers, gets the size, writes and reads a block, and does both in a loop',
      run: bind(tool),
    },
    {
      ...common,
      id: 'tool-usage',
      title: 'wrong arguments get usage and exit code 2, no permission gets Permission denied',
      run: bind(toolUsage),
    },
    {
      ...common,
      id: 'rights',
      title:
        'blocks only for registered processes (EPERM) and files open for them (EBADF); children have no part in it',
      run: bind(rights),
    },
    {
      ...common,
      id: 'positions',
      title:
        'positions of reading and writing advance block by block, and buffered reads see what an ioctl wrote',
      run: bind(positions),
    },
    {
      ...common,
      id: 'sysfs',
      title: 'sysfs tells size, block, users, registered processes and blocks moved',
      run: bind(sysfs),
    },
    {
      ...common,
      id: 'discard',
      title: 'discarded and zeroed ranges read as zeros, and nothing around them does',
      run: bind(discard),
    },
    {
      ...common,
      id: 'parameters',
      title: 'size and logging can be chosen, and sizes that make no sense are refused',
      run: bind(parameters),
    },
  ];
}

function toolWords({ programs }: ModuleSetup): string {
  const path = programs['virtblkiosim-tool'];
  if (path === undefined) throw new CheckFailure('the program virtblkiosim-tool is not in the guest');
  return quoteForShell(path);
}

async function tool(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const words = toolWords(setup);
  const text = context.nonce.toString('hex');
  const script = `${words} register\n${words} size\n${words} write ${text}\n${words} read | head -c ${text.length}\necho\n${words} loop ${LOOPS}`;
  const { stdout } = await withDevice(context, setup, script);
  const [registered = '', size, , read, loop = ''] = stdout.trim().split('\n');
  if (!/^process \d+ is registered$/.test(registered))
    throw new CheckFailure('register says something else', [registered]);
  expectEqual('the size of a block', size, 512);
  expectEqual('the text that was read', read, text);
  if (!loop.startsWith(`${LOOPS} blocks written, read back and equal`))
    throw new CheckFailure('the loop failed', [loop]);
  context.prove([registered, `${size} bytes`, `text ${read}`, loop].join('; '));
}

async function toolUsage(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const words = toolWords(setup);
  const wrong = ['', 'nonsense', 'size 1', 'write', 'loop', 'loop 0', 'loop x', 'loop -1', '-x size'];
  const tries = wrong.map(
    (args) => `${words} ${args} 2>&1 >/dev/null | grep usage; ${words} ${args} 2>/dev/null || echo $?`,
  );
  const user = `su -s /bin/sh nobody -c "${words} size" 2>&1 || echo $?`;
  const { stdout } = await withDevice(context, setup, [...tries, user].join('\n'));
  const lines = stdout.trim().split('\n');
  const usage = wrong.flatMap(() => ['usage: virtblkiosim-tool [-d NODE] COMMAND', '2']);
  const denied = `virtblkiosim-tool: ${NODE}: Permission denied`;
  expectEqual('what the tool says', lines.join('\n'), [...usage, denied, '1'].join('\n'));
  context.prove(`${wrong.length} wrong command lines: usage, 2; an ordinary user: ${denied}, 1`);
}

const RIGHTS: Readonly<Record<string, string | null>> = {
  'read-unregistered': 'EPERM',
  'write-unregistered': 'EPERM',
  'read-registered': null,
  'write-registered': null,
  'write-read-only': 'EBADF',
  'read-write-only': 'EBADF',
  'read-by-child': 'EPERM',
};

async function rights(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const seen = eventsOf(await runProbe(context, setup, 'rights'), 'right');
  const shown = (entries: (readonly [string, string | null])[]) =>
    entries.map(([name, error]) => `${name}: ${error}`).join(', ');
  const actual = shown(seen.map((right) => [right.case, right.error] as const));
  expectEqual('the rights', actual, shown(Object.entries(RIGHTS)));
  context.prove(actual);
}

async function positions(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const seen = await runProbe(context, setup, 'positions', context.nonce.readUInt32LE(20), POSITIONS);
  const { blocks, equal, error } = eventOf(seen, 'positions');
  expectEqual('the error', error, null);
  expectEqual(
    'blocks, and comparisons that were equal',
    `${blocks} ${equal}`,
    `${POSITIONS} ${POSITIONS * 2}`,
  );
  context.prove(`${blocks} blocks, each seen by a buffered read at its place and by ioctl`);
}

async function sysfs(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const words = toolWords(setup);
  const show = `cd /sys/block/${NAME}/iosim; echo $(cat storage_bytes block_bytes users registered ioctl_reads ioctl_writes)`;
  const script = [
    moduleWords(setup).unload,
    moduleWords(setup).load,
    show,
    `exec 3<${NODE}`,
    `${words} loop 3 >/dev/null`,
    show,
  ];
  const { stdout } = await mustRun(context, script.join('\n'));
  const expected = [`${BYTES} 512 0 0 0 0`, `${BYTES} 512 1 0 3 3`];
  expectEqual('bytes, block, users, registered, reads, writes', stdout.trim(), expected.join('\n'));
  context.prove(`fresh: ${expected[0]}; in use, after three blocks: ${expected[1]}`);
}

async function discard(context: CheckContext, setup: ModuleSetup): Promise<void> {
  await runProbe(context, setup, 'fill', 1);
  const kind = (at: number) =>
    `dd if=${NODE} bs=512 iflag=direct count=1 skip=${at} 2>/dev/null | cmp -s -n 512 - /dev/zero && echo zeros || echo data`;
  const clear = (how: string, at: number, sectors: number) =>
    `${probeWords(setup, how, at * 512, sectors * 512)} | grep -q '"event":"cleared","error":null'`;
  const script = [
    clear('discard', 1, 16384),
    ...[0, 1, 16384, 16385].map(kind),
    clear('zero', 32768, 2048),
    ...[32767, 32768, 34815, 34816].map(kind),
  ];
  const { stdout } = await withDevice(context, setup, script.join('\n'));
  const expected = 'data zeros zeros data data zeros zeros data';
  expectEqual('the sectors at both ends of both ranges', stdout.trim().split('\n').join(' '), expected);
  context.prove('8 MiB discarded and 1 MiB zeroed, to the sector');
}

async function parameters(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const { unload, insmod } = moduleWords(setup);
  const refused = ['0', '1025', '-1', 'x'].map(
    (size) => `${insmod} size_mib=${size} 2>/dev/null || echo refused`,
  );
  const script = [
    unload,
    ...refused,
    `${insmod} size_mib=48 log=0`,
    `blockdev --getsize64 ${NODE}`,
    `exec 3<${NODE}; exec 3<&-`,
    `echo 1 >/sys/module/${NAME}/parameters/log`,
    `exec 3<${NODE}; exec 3<&-`,
    unload,
    insmod,
  ];
  const { stdout, log } = await mustRun(context, script.join('\n'));
  const expected = [...refused.map(() => 'refused'), 48 * 2 ** 20].join(' ');
  expectEqual('four sizes refused, and the size', stdout.trim().split('\n').join(' '), expected);
  const lines = linesOfModule(log);
  const loaded = lines.slice(lines.findIndex((line) => line.includes('Device registered')));
  const used = loaded.slice(
    0,
    loaded.findIndex((line) => line.includes('Removing')),
  );
  const opened = used.filter((line) => line.endsWith('Device engage')).length;
  expectEqual('openings logged: none while silent, one after', opened, 1);
  context.prove(
    '0, 1025, -1 and x MiB refused; 48 MiB made; log=0 is silent, and can be changed while it is loaded',
  );
}
