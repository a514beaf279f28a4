import { spawnSync } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runChecks } from '../../src/grade/run-checks.js';
import { put } from '../../src/guest/transfer.js';
import type { Verdict } from '../../src/lab/check.js';
import { LISTENING } from '../../src/lab/health.js';
import { loadLab } from '../../src/lab/registry.js';
import { runningFor, withRunning } from '../../src/lab/target.js';
import { glibcRandom } from '../../src/labs/my-rng/glibc-random.js';
import { bootedChecks } from '../../src/labs/my-rng/grading/booted.js';
import { runApplication } from '../../src/labs/my-rng/grading/booted-application.js';
import {
  type BootedFindings,
  type BootedSetup,
  newFindings,
} from '../../src/labs/my-rng/grading/booted-setup.js';
import type { Machine } from '../../src/machine/machine.js';
import { scaled } from '../../src/timeouts.js';
import { root, useCli } from './cli.js';

const { lab: cli, state } = useCli();
const timeouts = scaled(1);
const signal = new AbortController().signal;
const oracle = { numbers: async (seed: number, count: number) => glibcRandom(seed, count) };

/** Each good driver: every charged check passes. */
const GOOD: Readonly<Record<string, readonly string[]>> = {
  plain: [],
  dynamic: ['#define DYNAMIC'],
  misc: ['#define MISC', '#define NAME "my-rng"'],
  other_name: ['#define NAME "random_numbers"'],
  put_user: [
    '#define DELIVER(to, n) put_user(n, (u32 __user *)(to))',
    '#define FETCH(s, from) get_user(s, (u32 __user *)(from))',
  ],
  exclusive: ['#define EXCLUSIVE'],
  chatty: ['#define ENTER() printk("my_rng: command 0x%x\\n", cmd)'],
  invalid: ['#define OTHERWISE() -EINVAL'],
  extra: ["#define OTHERWISE() (cmd == _IOR('q', 2, unsigned int) ? 0 : -ENOTTY)"],
};

/** A driver that has the generator of the C library and leaves the device alone. */
const COMPUTED = [
  '#include <linux/types.h>',
  'static u32 words[31];',
  'static unsigned int at;',
  'static u32 next_number(void)',
  '{',
  '  words[at % 31] += words[(at + 28) % 31];',
  '  return words[at++ % 31] >> 1;',
  '}',
  'static void start(s32 word)',
  '{',
  '  words[0] = word = word ? word : 1;',
  '  for (at = 1; at < 31; at++) {',
  '    word = 16807 * (word % 127773) - 2836 * (word / 127773);',
  '    if (word < 0)',
  '      word += 2147483647;',
  '    words[at] = word;',
  '  }',
  '  for (at = 34; at < 344; )',
  '    next_number();',
  '}',
  '#define TAKE() next_number()',
];

interface Bad {
  readonly code: readonly string[];
  /** The check that does not pass, and how. */
  readonly check: string;
  readonly outcome: string;
  /** What the fact or the hint says. */
  readonly says: RegExp;
  /** Lines that lose their marks. */
  readonly lines: readonly string[];
}

const SEQUENCE = 'driver-repeat-seed';
const TRANSFER = 'driver-safe-transfer';

const BAD: Readonly<Record<string, Bad>> = {
  raw_pointer: {
    code: ['#define DELIVER(to, n) (*(volatile u32 *)arg = (n), 0)'],
    check: 'driver-sequences',
    outcome: 'crashed',
    says: /touches the user's pointer directly.*copy_to_user/,
    lines: [SEQUENCE, TRANSFER],
  },
  raw_checked: {
    code: [
      '#define FETCH(s, from) (!arg ? *(volatile u32 *)arg : copy_from_user(&(s), from, 4) ? -EFAULT : 0)',
    ],
    check: 'driver-bad-addresses',
    outcome: 'crashed',
    says: /touches the user's pointer directly/,
    lines: [TRANSFER],
  },
  wide: {
    code: ['#define DELIVER(to, n) (copy_to_user(to, &(n), 8) ? -EFAULT : 0)'],
    check: 'driver-slots',
    outcome: 'failed',
    says: /overwrote bytes behind/,
    lines: [TRANSFER],
  },
  narrow: {
    code: ['#define DELIVER(to, n) (copy_to_user(to, &(n), 1) ? -EFAULT : 0)'],
    check: 'driver-slots',
    outcome: 'failed',
    says: /only 1 of the 4 bytes/,
    lines: [SEQUENCE, TRANSFER],
  },
  unchecked: {
    code: ['#define DELIVER(to, n) (copy_to_user(to, &(n), 4) ? 0 : 0)'],
    check: 'driver-bad-addresses',
    outcome: 'failed',
    says: /reports success for get at the bad address 0x0/,
    lines: [TRANSFER],
  },
  any_address: {
    code: ['#define DELIVER(to, n) (__copy_to_user(to, &(n), 4) ? -EFAULT : 0)'],
    check: 'driver-bad-addresses',
    outcome: 'failed',
    says: /writes to a kernel address/,
    lines: [TRANSFER],
  },
  garbage_seed: {
    code: ['#define FETCH(s, from) (copy_from_user(&(s), from, 4) ? ({ START(7); -EFAULT; }) : 0)'],
    check: 'driver-bad-addresses',
    outcome: 'failed',
    says: /bad address seeded the device/,
    lines: [TRANSFER],
  },
  invented: {
    code: [
      'static unsigned int state;',
      '#define TAKE() (state = state * 1103515245 + 12345)',
      '#define START(s) (state = (s))',
    ],
    check: 'driver-sequences',
    outcome: 'failed',
    says: /does not get the numbers of the device/,
    lines: [SEQUENCE],
  },
  computed: {
    code: [...COMPUTED, '#define START(s) start(s)'],
    check: 'driver-reads-device',
    outcome: 'failed',
    says: /got 16 numbers, but the device was read only 0 times/,
    lines: [SEQUENCE],
  },
  computed_unseen: {
    code: [...COMPUTED, '#define START(s) (start(s), iowrite32(s, regs + 4))'],
    check: 'driver-reads-device',
    outcome: 'failed',
    says: /got 3 numbers, but the device had given only 0/,
    lines: [SEQUENCE],
  },
  no_seed: {
    code: ['#define START(s) do { } while (0)'],
    check: 'driver-sequences',
    outcome: 'failed',
    says: /other numbers the second time/,
    lines: [SEQUENCE],
  },
  wrong_address: {
    code: ['#define ADDRESS 0xfebf8000'],
    check: 'driver-sequences',
    outcome: 'failed',
    says: /every number is 0.*BAR 0 of the device is at 0xfebf1000/,
    lines: [SEQUENCE],
  },
  swapped: {
    code: ['#define TAKE() swab32(ioread32(regs))'],
    check: 'driver-sequences',
    outcome: 'failed',
    says: /reverse order/,
    lines: [SEQUENCE],
  },
  skips: {
    code: ['#define START(s) (iowrite32(s, regs + 4), ioread32(regs))'],
    check: 'driver-sequences',
    outcome: 'failed',
    says: /begins 1 too late/,
    lines: [SEQUENCE],
  },
  any_command: {
    code: ['#define OTHERWISE() 0'],
    check: 'driver-unknown-commands',
    outcome: 'failed',
    says: /reports success for .*-ENOTTY/,
    lines: [TRANSFER],
  },
  held_lock: {
    code: [
      '#define ENTER() mutex_lock(&lock)',
      '#define LEAVE() do { if (ret != -EFAULT) mutex_unlock(&lock); } while (0)',
    ],
    check: 'driver-bad-addresses',
    outcome: 'timed-out',
    says: /a lock is left held/,
    lines: [TRANSFER],
  },
  bug: {
    code: ['#define OTHERWISE() ({ BUG(); 0; })'],
    check: 'driver-unknown-commands',
    outcome: 'crashed',
    says: /the kernel crashed in my_ioctl\(\)/,
    lines: [TRANSFER],
  },
  warn: {
    code: ['#define OTHERWISE() (WARN_ON(1), -ENOTTY)'],
    check: 'driver-kernel-log',
    outcome: 'failed',
    says: /complains about the driver/,
    lines: [TRANSFER],
  },
  endless: {
    code: ['#define TAKE() ({ for (;;) cpu_relax(); 0; })'],
    check: 'driver-sequences',
    outcome: 'crashed',
    says: /the guest hangs/,
    lines: [SEQUENCE, TRANSFER],
  },
  sleeps_then_hangs: {
    code: ['#define TAKE() ({ preempt_disable(); msleep(1); for (;;) cpu_relax(); 0; })'],
    check: 'driver-kernel-log',
    outcome: 'failed',
    says: /complains about the driver: BUG: scheduling while atomic.*spin_unlock/,
    lines: [SEQUENCE, TRANSFER],
  },
  no_device: {
    code: ['#define SILENT'],
    check: 'driver-registers',
    outcome: 'failed',
    says: /registers no character device/,
    lines: [SEQUENCE, TRANSFER],
  },
  gives_up: {
    code: ['#define INIT() do { return -EBUSY; } while (0)'],
    check: 'driver-loads',
    outcome: 'failed',
    says: /busy/,
    lines: [SEQUENCE, TRANSFER],
  },
};

interface Graded {
  readonly findings: BootedFindings;
  readonly verdicts: readonly Verdict[];
  /** Lines with a charged check that did not pass. */
  readonly lost: readonly string[];
}

/** One machine; after a driver that spoilt its kernel it is reset, which boots it anew. */
describe('the booted lane', () => {
  let built: string;

  beforeAll(async () => {
    process.env.LAB_STATE = state();
    const { code, stderr } = await cli(
      'up',
      '--name',
      'booted',
      '--variant',
      'module',
      '--profile',
      'course',
    );
    expect(code, stderr).toBe(0);
    expect((await cli('exec', '-m', 'booted', '--', 'rmmod', 'my_rng')).code).toBe(0);
    built = await build(join(state(), 'machines/booted/qemu.sh'));
  });

  afterAll(async () => {
    delete process.env.LAB_STATE;
    await rm(built, { recursive: true, force: true });
  });

  test('the lab’s own driver passes everything, and its application shows it', async () => {
    const { verdicts, lost, application } = await grade('reference');
    expect(lost, shown(verdicts)).toEqual([]);
    expect(verdicts.filter((verdict) => !isFine(verdict))).toEqual([]);
    expect(application).toMatchObject({ user: 'nobody', exitCode: 0 });
    expect(application?.evidence.join('\n')).toContain("2 rounds are equal, and are the device's numbers");
  });

  test.each(Object.keys(GOOD))('a good driver passes: %s', async (name) => {
    const { verdicts, lost } = await grade(name);
    expect(lost, shown(verdicts)).toEqual([]);
  });

  test.each(Object.entries(BAD))('a bad driver loses exactly its lines: %s', async (name, bad) => {
    const { verdicts, lost, findings } = await grade(name);
    const verdict = verdicts.find(({ id }) => id === bad.check);
    expect(verdict?.outcome, shown(verdicts)).toBe(bad.outcome);
    expect(`${verdict?.fact} ${verdict?.hint}`).toMatch(bad.says);
    expect([...lost].toSorted(), shown(verdicts)).toEqual([...bad.lines].toSorted());
    expect(findings.rawPointer !== undefined).toBe(name.startsWith('raw_'));
  });

  test('a driver in the kernel passes, and its boot test is evidence', async () => {
    const { code, stderr } = await cli(
      'up',
      '--name',
      'built-in',
      '--variant',
      'built-in',
      '--profile',
      'course',
    );
    expect(code, stderr).toBe(0);
    const { verdicts, lost } = await grade('reference', { machine: 'built-in', driver: 'built-in' });
    expect(lost, shown(verdicts)).toEqual([]);
    const bootTest = verdicts.find(({ id }) => id === 'boot-test');
    expect(bootTest?.outcome, shown(verdicts)).toBe('passed');
    expect(bootTest?.proof.join()).toContain("2 rounds are equal, and are the device's numbers: 286129175");
  });

  interface Where {
    readonly machine: string;
    readonly driver: 'built-in' | 'module';
  }

  async function grade(name: string, { machine, driver }: Where = { machine: 'booted', driver: 'module' }) {
    const lab = await loadLab('my-rng');
    const record = runningFor(lab, { name: machine });
    if (record === undefined) throw new Error('the machine is gone');
    return await withRunning(lab, record, { signal, emit: () => {} }, timeouts, async ({ target }) => {
      const at = `/tmp/${name}.ko`;
      await put(
        target.guest,
        [
          { from: join(built, `${name}.ko`), to: at },
          { from: join(built, 'probe'), to: '/tmp/probe-of-this-run', mode: 0o755 },
          { from: join(built, 'app'), to: '/tmp/app', mode: 0o755 },
        ],
        { timeouts },
      );
      const witness = { counters: () => countersOf(target.machine.monitor) };
      const setup: BootedSetup = {
        oracle,
        // Without it, the host's own read of the register has to tell.
        ...(name === 'computed_unseen' ? {} : { witness }),
        driver: driver === 'built-in' ? driver : { modules: [at] },
        probe: '/tmp/probe-of-this-run',
        bootTest: driver === 'built-in',
      };
      const findings = newFindings();
      const checks = bootedChecks(setup, findings);
      const from = target.machine.console.cursor;
      const verdicts = await runChecks(checks, target, { signal });
      const lost = new Set(
        checks
          .filter(({ id, charged }) => charged && !isFine(verdicts.find((verdict) => verdict.id === id)))
          .map(({ line }) => line),
      );
      const application =
        name === 'reference' ? await runApplication(target, setup, '/tmp/app', signal) : undefined;
      if (driver === 'module') await restore(target, name, verdicts, from);
      return { verdicts, findings, lost: [...lost], application } satisfies Graded & { application: unknown };
    });
  }

  /** The device counts accesses; it has no id on this machine. */
  async function countersOf(monitor: Machine['monitor']) {
    const parent = '/machine/peripheral-anon';
    const children = (await monitor.execute('qom-list', { path: parent })) as {
      name: string;
      type: string;
    }[];
    const { name } = children.find(({ type }) => type === 'child<my_rng>') ?? { name: 'none' };
    const get = async (property: string) =>
      Number(await monitor.execute('qom-get', { path: `${parent}/${name}`, property }));
    return { reads: await get('reads'), seeds: await get('seeds') };
  }

  function shown(verdicts: readonly Verdict[]): string {
    return verdicts
      .map(({ id, outcome, fact = '', hint = '', evidence, duration }) =>
        [`${id}: ${outcome} (${duration.toFixed(0)} ms) ${fact} [${hint}]`, ...evidence].join('\n    '),
      )
      .join('\n');
  }

  function isFine(verdict: Verdict | undefined): boolean {
    return verdict?.outcome === 'passed' || verdict?.outcome === 'skipped';
  }

  type Target = Parameters<typeof runApplication>[0] & {
    readonly machine: Machine;
  };

  async function restore(target: Target, name: string, verdicts: readonly Verdict[], from: number) {
    const spoilt = verdicts.some(({ outcome }) => outcome === 'crashed' || outcome === 'timed-out');
    if (!spoilt && (await target.guest.exec(`rmmod ${name} || [ ! -d /sys/module/${name} ]`)).exitCode === 0)
      return;
    const { console, monitor } = target.machine;
    await monitor.execute('system_reset');
    const options = { name: 'the guest', timeout: timeouts.boot, signal, from, fatal: [] };
    await console.waitFor(LISTENING, options);
  }

  /** All drivers as modules of the kernel that the machine runs, the probe, and the application. */
  async function build(qemuScript: string): Promise<string> {
    const kernel = / -kernel (\S+)/.exec(await readFile(qemuScript, 'utf8'))?.[1] ?? '';
    const dir = await mkdtemp(join(tmpdir(), 'lab-booted-'));
    await copyFile(join(root, 'test/fixtures/booted/driver.h'), join(dir, 'driver.h'));
    await copyFile(join(root, 'patches/my-rng/module/my-rng.c'), join(dir, 'reference.c'));
    const drivers = Object.entries({
      ...GOOD,
      ...Object.fromEntries(Object.entries(BAD).map(([n, { code }]) => [n, code])),
    });
    for (const [name, code] of drivers) {
      await writeFile(join(dir, `${name}.c`), `${code.join('\n')}\n#include "driver.h"\n`);
    }
    const objects = ['reference', ...drivers.map(([name]) => name)].map((name) => `${name}.o`);
    await writeFile(join(dir, 'Kbuild'), `obj-m += ${objects.join(' ')}\nccflags-y += -Wno-error\n`);
    command('make', ['-j2', '-C', join(dirname(kernel), 'kbuild'), `M=${dir}`, 'modules']);
    const guest = join(root, 'patches/my-rng/guest');
    command('gcc', ['-static', '-O2', '-o', join(dir, 'probe'), join(guest, 'my-rng-probe.c')]);
    command('gcc', ['-static', '-O2', '-o', join(dir, 'app'), join(guest, 'my-app.c')]);
    return dir;
  }

  function command(program: string, args: readonly string[]): void {
    const { status, stderr, stdout } = spawnSync(program, args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stdout}${stderr}`);
  }
});
