import { type CheckContext, CheckFailure, expectEqual } from '../../../lab/check.js';
import { noExactMemory } from '../../../lab/kmemleak.js';
import { SHOW_MEMORY } from '../../../lab/memory.js';
import type { LineCheck, ModuleSetup } from '../../../lab/module-checks.js';
import { mustRun } from '../../../lab/run-logged.js';
import { BYTES, expectLine, linesOfModule, moduleWords, NAME, NODE, withDevice } from '../device.js';

const REGISTERED = 'virtblkiosim: Device registered with major number of <number>';
/** MiB that may be missing from, or come on top of, the 32 that are less free: page tables, slabs. */
const TOLERANCE = 3;

/** Loading the module, and what the guest shows of it. */
export function loadChecks(setup: ModuleSetup): LineCheck[] {
  const common = { line: 'loads', machine: 'storage', deadline: 15_000 };
  const bind = (run: (context: CheckContext, setup: ModuleSetup) => Promise<void>) => {
    return (context: CheckContext) => run(context, setup);
  };
  return [
    {
      ...common,
      id: 'modinfo',
      title: 'modinfo shows licence, author, version, description, and the vermagic of the running kernel',
      run: bind(modinfo),
    },
    {
      ...common,
      id: 'insmod',
      title: 'insmod succeeds, lsmod lists the module, and the log names the major number of /proc/devices',
      run: bind(insmod),
    },
    {
      ...common,
      id: 'memory',
      title: 'after loading, about 32 MiB of memory are less free',
      needs: ['insmod'],
      skip: noExactMemory,
      run: bind(memory),
    },
    {
      ...common,
      id: 'lsblk',
      title: 'lsblk shows a disk virtblkiosim of 32M, with the first of 16 minors',
      needs: ['insmod'],
      run: bind(lsblk),
    },
    {
      ...common,
      id: 'node',
      title: `${NODE} exists, has 32 MiB and sectors of 512 bytes`,
      needs: ['insmod'],
      run: bind(node),
    },
    {
      ...common,
      id: 'engage',
      title: 'opening logs "Device engage", closing "Device release"',
      needs: ['node'],
      run: bind(engage),
    },
    {
      ...common,
      id: 'modprobe',
      title: 'after depmod, modprobe loads it and modprobe -r removes it',
      needs: ['insmod'],
      run: bind(modprobe),
    },
  ];
}

async function modinfo(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const { stdout } = await mustRun(context, `modinfo ${moduleWords(setup).ko}\nuname -r`);
  context.note(stdout.trimEnd());
  const field = (name: string) => new RegExp(`^${name}:\\s+(\\S.*)$`, 'm').exec(stdout)?.[1] ?? '';
  for (const name of ['license', 'author', 'version', 'description', 'vermagic']) {
    if (field(name) !== '') continue;
    throw new CheckFailure(
      `modinfo shows no ${name}`,
      [],
      `add MODULE_${name.toUpperCase()}("…") to the source`,
    );
  }
  if (!/^(GPL|Dual .*GPL)/.test(field('license'))) {
    throw new CheckFailure(
      `the licence is "${field('license')}"`,
      [],
      'the kernel is GPL: MODULE_LICENSE("GPL")',
    );
  }
  const release = stdout.trimEnd().split('\n').at(-1);
  expectEqual('the kernel that it was built for', field('vermagic').split(' ')[0], release);
  context.prove(`${field('license')}, ${field('author')}, version ${field('version')}, for ${release}`);
}

async function insmod(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const { unload, insmod: load } = moduleWords(setup);
  await mustRun(context, unload);
  const { stdout, log } = await mustRun(context, `${load}\nlsmod | grep "^${NAME} "\ncat /proc/devices`);
  const [, major] = expectLine(linesOfModule(log), 'the registration', REGISTERED);
  if (!new RegExp(`^ *${major} ${NAME}$`, 'm').test(stdout))
    throw new CheckFailure(`/proc/devices does not list the major number ${major}`, stdout.split('\n'));
  context.prove(
    `insmod exited with 0; lsmod: ${stdout.split('\n')[0]}; major number ${major} in /proc/devices`,
  );
}

async function memory(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const { unload, insmod: load } = moduleWords(setup);
  const { stdout } = await mustRun(context, [unload, SHOW_MEMORY, load, SHOW_MEMORY].join('\n'));
  const [before = 0, , after = 0] = stdout.trim().split('\n').map(Number);
  const less = (after - before) / 1024;
  const shown = `the kernel's memory before: ${before} KiB, after: ${after} KiB, ${less.toFixed(1)} MiB more`;
  if (!(Math.abs(less - BYTES / 2 ** 20) <= TOLERANCE)) {
    throw new CheckFailure('loading the module does not take about 32 MiB of memory', [shown]);
  }
  context.prove(shown);
}

async function lsblk(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const script = `lsblk -d -r -n -o NAME,MAJ:MIN,SIZE,TYPE ${NODE}\ncat /sys/block/${NAME}/range`;
  const { stdout } = await withDevice(context, setup, script);
  const [line = '', minors] = stdout.trim().split('\n');
  const [name, number = '', size, type] = line.split(/\s+/);
  expectEqual('the disk that lsblk shows', `${name} ${size} ${type}`, `${NAME} 32M disk`);
  expectEqual('the number of minors', minors, 16, 'set the minors of the disk before it is added');
  expectEqual('the minor number of the whole disk', Number(number.split(':')[1]) % 16, 0);
  context.prove(`lsblk: ${line}; ${minors} minors`);
}

async function node(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const script = `ls -l ${NODE}\nblockdev --getsize64 ${NODE}\nblockdev --getss ${NODE}`;
  const { stdout } = await withDevice(context, setup, script);
  const [listed = '', bytes, sector] = stdout.trim().split('\n');
  expectEqual('the type of the node', listed[0], 'b');
  expectEqual('the bytes of the disk', bytes, BYTES);
  expectEqual('the bytes of a sector', sector, 512);
  context.prove(`${listed}; ${bytes} bytes in sectors of ${sector}`);
}

async function engage(context: CheckContext, setup: ModuleSetup): Promise<void> {
  await withDevice(context, setup, '');
  const { log } = await mustRun(context, `exec 3<${NODE}\necho opened >/dev/kmsg\nexec 3<&-`);
  const opened = log.indexOf('opened');
  expectLine(linesOfModule(log.slice(0, opened)), 'opening', 'virtblkiosim: Device engage');
  expectLine(linesOfModule(log.slice(opened)), 'closing', 'virtblkiosim: Device release');
  context.prove('one line of each, at the right time');
}

async function modprobe(context: CheckContext, setup: ModuleSetup): Promise<void> {
  const { ko, unload, load } = moduleWords(setup);
  const home = '/lib/modules/$(uname -r)/extra';
  await mustRun(context, unload);
  const script = [
    `mkdir -p ${home} && cp ${ko} ${home}/${NAME}.ko && depmod`,
    `modprobe ${NAME} && ls -l ${NODE} && modprobe -r ${NAME}`,
    `[ ! -d /sys/module/${NAME} ] && echo removed`,
    `rm ${home}/${NAME}.ko && depmod`,
    load,
  ];
  const { stdout, log } = await mustRun(context, script.join('\n'));
  const [listed, removed] = stdout.trim().split('\n');
  expectEqual('after modprobe -r', removed, 'removed');
  const lines = linesOfModule(log);
  expectLine(lines, 'removing', 'virtblkiosim: Removing module...');
  context.prove(`depmod, modprobe: ${listed}; modprobe -r: removed`);
}
