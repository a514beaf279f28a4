import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Report } from '../../src/grade/report.js';
import { runChecks } from '../../src/grade/run-checks.js';
import type { CheckContext, CheckTarget, Verdict } from '../../src/lab/check.js';
import { loadLab } from '../../src/lab/registry.js';
import { runningFor, withRunning } from '../../src/lab/target.js';
import { vblkChecks } from '../../src/labs/vblk/checks.js';
import type { VblkSetup } from '../../src/labs/vblk/devices.js';
import { attached } from '../../src/labs/vblk/served.js';
import type { BlockDevice } from '../../src/nbd/device.js';
import { DeadBeef } from '../../src/nbd/examples/deadbeef.js';
import { RamDisk } from '../../src/nbd/examples/ramdisk.js';
import { openSubmittedDevice } from '../../src/sandbox/device.js';
import { scaled } from '../../src/timeouts.js';
import { root, useCli } from './cli.js';

const { lab, start, state } = useCli();
const MACHINE = ['vblk', '--name', 'nbd', '--accel', 'tcg'];
const signal = new AbortController().signal;

test('the machine is up, with the driver in it', async () => {
  const { code, stderr } = await lab('up', ...MACHINE, '--json');
  expect(code, stderr).toBe(0);
  expect(await lab('exec', '--', 'ls', '/dev/nbd0')).toMatchObject({ code: 0 });
});

test('all checks pass, each with proof', async () => {
  const { code, stdout, stderr } = await lab('test', ...MACHINE, '--json');
  const report = JSON.parse(stdout) as Report;
  expect(
    report.checks.filter(({ outcome }) => outcome !== 'passed'),
    stderr,
  ).toEqual([]);
  expect(code).toBe(0);
  expect(report.checks.length).toBeGreaterThanOrEqual(17);
  for (const { id, proof } of report.checks) expect(proof.length, id).toBeGreaterThan(0);
});

interface Event {
  readonly type: string;
  readonly [name: string]: unknown;
}

/** `lab vblk attach` until `use` has ended, then Ctrl-C; gives all that it said. */
async function attaching(args: readonly string[], use: (node: string) => Promise<void>): Promise<Event[]> {
  const child = start('vblk', 'attach', ...args, '--json', '--machine', 'nbd');
  const events: Event[] = [];
  let errors = '';
  child.stderr?.on('data', (chunk: Buffer) => (errors += chunk));
  const closed = once(child, 'close');
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
    const event = JSON.parse(line) as Event;
    events.push(event);
    if (event.type !== 'attached') continue;
    await use(String(event.node));
    child.kill('SIGINT');
  }
  expect(await closed, errors).toEqual([0, null]);
  return events;
}

const shell = async (script: string) => await lab('exec', '-m', 'nbd', '--', 'sh', '-c', script);

describe('lab vblk attach', () => {
  test('deadbeef is what the exercise prints', async () => {
    await attaching(['deadbeef'], async (node) => {
      expect(node).toBe('/dev/nbd0');
      const { stdout } = await shell(`xxd ${node} | head -n 1; blockdev --getsize64 ${node}`);
      expect(stdout).toMatch(/^00000000: dead beef dead beef dead beef dead beef .*\n4194304\n$/);
      const dd = await shell(`/bin/dd oflag=dsync if=/dev/zero of=${node} bs=1024 count=4096`);
      expect(dd.code).not.toBe(0);
      expect(dd.stderr).toMatch(/input\/output error.*\n0\+0 records out/is);
    });
    const { stdout } = await shell('blockdev --getsize64 /dev/nbd0');
    expect(stdout).toBe('0\n');
  });

  test.each([
    ['nbd1', []],
    ['disk', []],
    ['nbd1', ['--sandbox']],
  ])("a device of one's own is there as %s %j, and is unmounted in the end", async (as, flags) => {
    const file = join(state(), 'counter.ts');
    await writeFile(file, OWN);
    const events = await attaching([file, '--as', as, '--log', ...flags], async (node) => {
      expect(node).toBe(as === 'disk' ? '/dev/vdb' : '/dev/nbd1');
      const { stdout } = await shell(
        `dd if=${node} bs=4096 skip=7 count=1 2>/dev/null | head -n 1; cat ${SIZE}`,
      );
      expect(stdout).toBe('this is block 7\n2048\n');
    });
    const types = events.map(({ type }) => type);
    expect(types).toEqual(expect.arrayContaining(['negotiated', 'operation', 'unmounted', 'detached']));
    expect(events).toContainEqual(expect.objectContaining({ type: 'ended', graceful: true }));
    expect((await shell(`cat ${SIZE} 2>/dev/null || echo gone`)).stdout).toMatch(/^(0|gone)\n$/);
  });

  test('a machine that does not run, and a device that is none, are said', async () => {
    const absent = await lab('vblk', 'attach', 'ramdisk', '--machine', 'absent');
    expect(absent).toMatchObject({ code: 2, stderr: expect.stringContaining('no machine called absent') });
    const none = await lab('vblk', 'attach', join(state(), 'none.ts'), '--machine', 'nbd');
    expect(none).toMatchObject({ code: 2, stderr: expect.stringContaining('there is no file') });
  });
});

/** Sectors of whichever disk the device is. */
const SIZE = '$(ls -d /sys/block/vdb/size 2>/dev/null || echo /sys/block/nbd1/size)';

const OWN = `import type { BlockDevice } from 'lab/vblk';

export default class Numbered implements BlockDevice {
  blockSize() {
    return 4096;
  }

  blocks() {
    return 256;
  }

  read(offset: number, buffer: Buffer) {
    for (let at = 0; at < buffer.length; at += 4096)
      buffer.fill(\`this is block \${(offset + at) / 4096}\\n\`, at, at + 4096);
  }

  unmount() {}
}
`;

interface Mutant {
  readonly deadbeef?: () => BlockDevice;
  readonly ramdisk?: () => BlockDevice;
  /** The check that must fail, and what it says. */
  readonly check: string;
  readonly says: RegExp;
}

/** The ramdisk with some of its methods replaced or taken away. */
function changed(changes: (disk: RamDisk) => Partial<Record<keyof BlockDevice, unknown>>): () => BlockDevice {
  return () => {
    const disk = new RamDisk();
    return Object.assign(disk, changes(disk)) as BlockDevice;
  };
}

const MUTANTS: Readonly<Record<string, Mutant>> = {
  'the bytes in another order': {
    deadbeef: () =>
      Object.assign(new DeadBeef(), { read: (_: number, to: Buffer) => to.fill('efbeadde', 'hex') }),
    check: 'deadbeef',
    says: /actual: {3}00000000: efbe adde/,
  },
  'one block less': {
    deadbeef: () => Object.assign(new DeadBeef(), { blocks: () => 4095 }),
    check: 'deadbeef',
    says: /actual: {3}4193280/,
  },
  'wrong in the last block': {
    deadbeef: () =>
      Object.assign(new DeadBeef(), {
        read: (offset: number, to: Buffer) => {
          to.fill('deadbeef', 'hex');
          if (offset + to.length === 4 << 20) to.fill(0, to.length - 1);
        },
      }),
    check: 'deadbeef',
    says: /SHA-256 of all that is read/,
  },
  'takes writes and forgets them': {
    deadbeef: () => Object.assign(new DeadBeef(), { write: () => {} }),
    check: 'deadbeef-write',
    says: /dd wrote to a device/,
  },
  'loses writes': {
    ramdisk: changed(() => ({ write: () => {} })),
    check: 'ramdisk-data',
    says: /SHA-256 of what the device got/,
  },
  'keeps the first half of a write': {
    ramdisk: changed((disk) => ({
      write: (offset: number, from: Buffer) =>
        RamDisk.prototype.write.call(disk, offset, from.subarray(0, from.length / 2)),
    })),
    check: 'ramdisk-file-system',
    says: /failed with exit code|SHA-256 of the three files/,
  },
  'writes a block further on': {
    ramdisk: changed((disk) => ({
      write: (offset: number, from: Buffer) => RamDisk.prototype.write.call(disk, offset + 512, from),
    })),
    check: 'partial-blocks',
    says: /SHA-256 of what the guest reads/,
  },
  'has no flush': {
    ramdisk: changed(() => ({ flush: undefined })),
    check: 'ramdisk-flush',
    says: /did not reach the flush handler/,
  },
  'has no trim': {
    ramdisk: changed(() => ({ trim: undefined })),
    check: 'ramdisk-trim',
    says: /failed with exit code|did not reach the trim handler/,
  },
  'trims a block too many': {
    ramdisk: changed((disk) => ({
      trim: (offset: number, length: number) => RamDisk.prototype.trim.call(disk, offset, length + 512),
    })),
    check: 'ramdisk-trim',
    says: /trim went too far/,
  },
  'forgets all when it is unmounted': {
    ramdisk: changed((disk) => ({ unmount: () => disk.zero(0, 32 << 20) })),
    check: 'disk',
    says: /SHA-256 of what was written as/,
  },
};

/** In one process with the devices, on the machine of the tests before. */
describe('devices that are wrong', () => {
  beforeAll(() => {
    process.env.LAB_STATE = state();
  });
  afterAll(() => {
    delete process.env.LAB_STATE;
  });

  test.each(Object.entries(MUTANTS))('%s: caught', async (_name, { check, says, ...devices }) => {
    const setup: VblkSetup = { deadbeef: () => new DeadBeef(), ramdisk: () => new RamDisk(), ...devices };
    const { outcome, fact, hint, evidence } = await verdictOf(setup, check);
    expect(outcome, fact).toBe('failed');
    expect([fact, hint, ...evidence].join('\n')).toMatch(says);
  });
});

test("a device that runs in the sandbox is as good as one of one's own", async () => {
  process.env.LAB_STATE = state();
  const file = join(root, 'src/nbd/examples/ramdisk.ts');
  await using submitted = await openSubmittedDevice(file, { patience: 20_000, timeouts: scaled(1) });
  const setup = { deadbeef: () => new DeadBeef(), ramdisk: () => submitted.device };
  const { outcome, fact } = await verdictOf(setup, 'ramdisk-trim');
  delete process.env.LAB_STATE;
  expect(outcome, fact).toBe('passed');
});

test('a check that hangs says which task of the guest waits, and where in the kernel', async () => {
  process.env.LAB_STATE = state();
  let answer = () => {};
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const silent = Object.assign(new RamDisk(), { read: async () => await answered });
  const verdict = await onMachine(async (target) => {
    const context = { ...target, signal, prove: () => {}, note: () => {} };
    return await attached(context, silent, {}, async () => {
      const run = async ({ guest }: CheckContext) => {
        await guest.exec('dd if=/dev/nbd0 of=/dev/null count=1', { signal, timeout: 1000 });
      };
      const [late] = await runChecks([{ id: 'hangs', title: 'hangs', deadline: 60_000, run }], target, {
        signal,
      });
      answer();
      return late;
    });
  });
  delete process.env.LAB_STATE;
  expect(verdict).toMatchObject({ outcome: 'timed-out', fact: expect.stringContaining('did not end') });
  expect(verdict?.evidence.join('\n')).toMatch(
    /task:.* state:D[\s\S]*Call Trace:[\s\S]*(read|filemap|folio)/,
  );
});

async function verdictOf(setup: VblkSetup, id: string): Promise<Verdict> {
  const checks = vblkChecks(setup).filter((check) => check.id === id);
  const alone = checks.map((check) => ({ ...check, needs: [] }));
  const [verdict] = await onMachine(async (target) => await runChecks(alone, target, { signal }));
  if (verdict === undefined) throw new Error(`there is no check ${id}`);
  return verdict;
}

async function onMachine<T>(use: (target: CheckTarget) => Promise<T>): Promise<T> {
  const definition = await loadLab('vblk');
  const record = runningFor(definition, { name: 'nbd' });
  if (record === undefined) throw new Error('the machine does not run');
  const quiet = { signal, emit: () => {} };
  return await withRunning(definition, record, quiet, scaled(1), async ({ target }) => await use(target));
}
