import { spawnSync } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Report } from '../../src/grade/report.js';
import { runChecks } from '../../src/grade/run-checks.js';
import { put } from '../../src/guest/transfer.js';
import type { CheckTarget, Verdict } from '../../src/lab/check.js';
import { LISTENING } from '../../src/lab/health.js';
import type { LineCheck, ModuleSetup } from '../../src/lab/module-checks.js';
import { loadLab } from '../../src/lab/registry.js';
import { runningFor, withRunning } from '../../src/lab/target.js';
import { kernelModulesChecks } from '../../src/labs/kernel-modules/checks.js';
import { scaled } from '../../src/timeouts.js';
import { root, useCli } from './cli.js';

const { lab: cli, state } = useCli();
const timeouts = scaled(2);
const signal = new AbortController().signal;
const fixtures = join(root, 'test/fixtures/kernel-modules');

/** A hand-in: what is different about it, and whether it is a keyboard or both of the small modules. */
interface HandIn {
  readonly of: 'keyboard' | 'small';
  readonly code: readonly string[];
  readonly program?: string;
}

/** All checks of its lines pass. */
const GOOD: Readonly<Record<string, HandIn>> = {
  character_device: { of: 'keyboard', code: [] },
  text_in_proc: {
    of: 'keyboard',
    code: ['#define IN_PROC', '#define SHOW(text, code) sprintf(text, "0x%02x\\n", code)'],
  },
  by_ioctl: { of: 'keyboard', code: ['#define BY_IOCTL'], program: 'by-ioctl' },
  small: { of: 'small', code: [] },
};

interface Bad extends HandIn {
  /** The check that does not pass, and what it says. */
  readonly check: string;
  readonly says: RegExp;
}

const CODES = 'keyboard-codes';
const keyboard = (check: string, says: RegExp, ...code: string[]): Bad => ({
  of: 'keyboard',
  check,
  says,
  code,
});
const small = (check: string, says: RegExp, ...code: string[]): Bad => ({ of: 'small', check, says, code });

const BAD: Readonly<Record<string, Bad>> = {
  off_by_one: keyboard(CODES, /off by 1/, '#define KEEP(code) put((code) + 1)'),
  wrong_table: keyboard(
    CODES,
    /did not get the codes/,
    '#define KEEP(code) put(((code) & 0x7f) < 0x25 ? (code) : (code) ^ 1)',
  ),
  makes_only: keyboard(
    CODES,
    /only the codes of presses/,
    '#define KEEP(code) if (!((code) & 0x80)) put(code)',
  ),
  one_late: keyboard(CODES, /one key late/, '#define KEEP(code) put(latest)'),
  never_waits: keyboard(CODES, /end of a file/, '#define WAIT() 0'),
  spins: keyboard('keyboard-waits', /does not sleep/, '#define WAIT() spin(file)'),
  dozes: keyboard('keyboard-waits', /does not sleep/, '#define WAIT() doze(file)'),
  no_interrupt: keyboard(
    'keyboard-load',
    /no handler of its own/,
    '#define START() (mod_timer(&poller, jiffies + 1), 0)',
    '#define STOP() timer_delete_sync(&poller)',
  ),
  polls_beside_interrupt: keyboard(
    CODES,
    /did not get the codes|does not work for others/,
    '#define START() (mod_timer(&poller, jiffies + 1), request_irq(1, idle, FLAGS, "student", &head))',
    '#define STOP() (timer_delete_sync(&poller), free_irq(1, &head))',
  ),
  polls_fast: keyboard(
    'keyboard-waits',
    /it polls/,
    '#define START() (request_irq(1, handler, FLAGS, "student", &head) ?: start_fast())',
    '#define STOP() (hrtimer_cancel(&fast), free_irq(1, &head))',
  ),
  exclusive: keyboard('keyboard-load', /insmod of exclusive failed/, '#define FLAGS 0'),
  one_queue: keyboard(
    'keyboard-readers',
    /reader \d of 3 did not get/,
    'static unsigned int shared;',
    '#define TAIL shared',
  ),
  swallows: keyboard(
    'keyboard-others',
    /does not work for others/,
    '#define START() (i8042_install_filter(swallow), request_irq(1, handler, FLAGS, "student", &head))',
    '#define STOP() (i8042_remove_filter(swallow), free_irq(1, &head))',
  ),
  oops_when_unused: keyboard(
    'keyboard-unload-unused',
    /rmmod of oops_when_unused failed/,
    '#define AT_EXIT() pr_info("last key %d\\n", *(volatile unsigned char *)last)',
  ),
  unload_under_reader: keyboard('keyboard-unload-open', /while a reader slept in it/, '#define OWNER NULL'),
  handler_stays: keyboard('keyboard-load', /./, '#define STOP() (void)0'),
  hello_twice: small(
    'hello-load',
    /with "Hello, world!"/,
    '#define HELLO() (pr_info("Hello, world!\\n"), pr_info("Hello, world!\\n"))',
  ),
  silent_end: small('hello-unload', /with "Unloading module!"/, '#define BYE() (void)0'),
  all_may_write: small('ioctl-entry', /type and mode/, '#define MODE 0666'),
  wrong_field: small(
    'ioctl-fields',
    /what the call logged/,
    '#define SAY(f) pr_info("ioctl: call to IOCTL_TEST (%d,a)!\\n", (f).field1)',
  ),
  other_number: small(
    'ioctl-fields',
    /the error of a right call/,
    '#define COMMAND _IOW(0, 7, struct fields)',
  ),
  succeeds: small('ioctl-commands', /does not give EINVAL/, '#define OTHERWISE 0'),
  unchecked: small(
    'ioctl-pointers',
    /does not give EFAULT/,
    '#define FETCH(to, from) (copy_from_user(to, from, 8) ? 0 : 0)',
  ),
  raw_pointer: small(
    'ioctl-fields',
    /the kernel ended the program/,
    '#define FETCH(to, from) (*(to) = *(struct fields *)(from), 0)',
  ),
  entry_stays: small('ioctl-entry', /outlives|failed/, '#define REMOVE() (void)0'),
};

describe('kernel-modules', () => {
  let built = '';

  beforeAll(async () => {
    process.env.LAB_STATE = state();
    const { code, stderr } = await cli('up', 'kernel-modules', '--name', 'modules');
    expect(code, stderr).toBe(0);
    built = await build(join(state(), 'machines/modules/qemu.sh'));
  });

  afterAll(async () => {
    delete process.env.LAB_STATE;
    await rm(built, { recursive: true, force: true });
  });

  test('our own modules pass all checks, each with proof', async () => {
    const { code, stdout, stderr } = await cli('test', 'kernel-modules', '--name', 'modules', '--json');
    const { checks } = JSON.parse(stdout) as Report;
    const skipped = checks.filter(({ outcome }) => outcome === 'skipped').map(({ id }) => id);
    expect(skipped).toEqual(['modules-leak']);
    const rest = checks.filter(({ id }) => !skipped.includes(id));
    const bad = rest.filter(({ outcome }) => outcome !== 'passed');
    expect(bad, stderr).toEqual([]);
    for (const { id, proof } of rest) expect(proof.length, id).toBeGreaterThan(0);
    expect(code).toBe(0);
    const { stdout: loaded } = await cli('exec', '-m', 'modules', '--', 'lsmod');
    for (const name of ['hello', 'ioctl_test', 'lab_keyboard']) expect(loaded).toContain(name);
    const remove = 'rmmod hello; rmmod ioctl_test; rmmod lab_keyboard';
    expect((await cli('exec', '-m', 'modules', '--', 'sh', '-c', remove)).code).toBe(0);
  });

  test.each(Object.entries(GOOD))('a good hand-in passes: %s', async (name, handIn) => {
    const verdicts = await judge(name, handIn, (check) => check.line !== 'extras');
    const bad = verdicts.filter(({ outcome }) => outcome !== 'passed' && outcome !== 'skipped');
    expect(bad, shown(verdicts)).toEqual([]);
  });

  test.each(Object.entries(BAD))('a bad hand-in is seen: %s', async (name, bad) => {
    const verdicts = await judge(name, bad, (check, needed) => needed(bad.check).has(check.id));
    const verdict = verdicts.find(({ id }) => id === bad.check);
    expect(['failed', 'crashed', 'timed-out'], shown(verdicts)).toContain(verdict?.outcome);
    expect(`${verdict?.fact} ${verdict?.hint}`, shown(verdicts)).toMatch(bad.says);
    for (const { id, outcome } of verdicts)
      if (id !== bad.check) expect(outcome, shown(verdicts)).toBe('passed');
  });

  type Wanted = (check: LineCheck, needed: (id: string) => ReadonlySet<string>) => boolean;

  async function judge(name: string, handIn: HandIn, wanted: Wanted): Promise<readonly Verdict[]> {
    const lab = await loadLab('kernel-modules');
    const record = runningFor(lab, 'modules');
    if (record === undefined) throw new Error('the machine is gone');
    return await withRunning(lab, record, { signal, emit: () => {} }, timeouts, async ({ target }) => {
      const at = `/tmp/${name}.ko`;
      await put(target.guest, [{ from: join(built, `${name}.ko`), to: at }], { timeouts });
      const setup = await setupOf(handIn, at, target);
      const checks = kernelModulesChecks(setup).filter(({ line }) => linesOf[handIn.of].includes(line));
      const chosen = checks.filter((check) => wanted(check, (id) => needs(checks, id)));
      const from = target.machine.console.cursor;
      const verdicts = await runChecks(chosen, target, { signal });
      await restore(target, name, from);
      return verdicts;
    });
  }

  async function setupOf(handIn: HandIn, at: string, target: CheckTarget): Promise<ModuleSetup> {
    const modules = handIn.of === 'keyboard' ? { keyboard: at } : { hello: at, ioctl_test: at };
    const ours = ['ioctl-probe', 'keyboard-probe'].map((program) => [program, `/usr/local/bin/${program}`]);
    const programs = Object.fromEntries(ours) as Record<string, string>;
    if (handIn.program === undefined) return { modules, programs };
    const to = `/tmp/${handIn.program}`;
    await put(target.guest, [{ from: join(built, handIn.program), to, mode: 0o755 }], { timeouts });
    return { modules, programs: { ...programs, 'keyboard-reader': to } };
  }

  /** A kernel that has complained is started anew. */
  async function restore({ guest, machine }: CheckTarget, name: string, from: number) {
    const clean = `[ ! -d /sys/module/${name} ] && ! dmesg | grep -q 'Oops\\|BUG:\\|WARNING:'`;
    const looked = await guest.exec(clean, { signal, timeout: 5000 }).catch(() => undefined);
    if (looked?.exitCode === 0) return;
    await machine.monitor.execute('system_reset');
    const options = { name: 'the guest', timeout: timeouts.boot, signal, from, fatal: [] };
    await machine.console.waitFor(LISTENING, options);
  }

  /** All hand-ins as modules of the kernel that the machine runs, and their programs. */
  async function build(qemuScript: string): Promise<string> {
    const kernel = / -kernel (\S+)/.exec(await readFile(qemuScript, 'utf8'))?.[1] ?? '';
    const dir = await mkdtemp(join(tmpdir(), 'lab-modules-'));
    for (const header of ['keyboard.h', 'small.h']) await copyFile(join(fixtures, header), join(dir, header));
    const handIns = Object.entries({ ...GOOD, ...BAD });
    for (const [name, { of, code }] of handIns) {
      await writeFile(join(dir, `${name}.c`), `${code.join('\n')}\n#include "${of}.h"\n`);
    }
    const objects = handIns.map(([name]) => `${name}.o`).join(' ');
    await writeFile(join(dir, 'Kbuild'), `obj-m += ${objects}\nccflags-y += -Wno-error\n`);
    command('make', ['-j2', '-C', join(dirname(kernel), 'kbuild'), `M=${dir}`, 'modules']);
    command('gcc', ['-static', '-O2', '-o', join(dir, 'by-ioctl'), join(fixtures, 'by-ioctl.c')]);
    return dir;
  }
});

const linesOf: Readonly<Record<HandIn['of'], readonly string[]>> = {
  keyboard: ['keyboard', 'keyboard-safety'],
  small: ['hello', 'ioctl-test'],
};

/** A check and all that it builds on. */
function needs(checks: readonly LineCheck[], id: string): ReadonlySet<string> {
  const check = checks.find((candidate) => candidate.id === id);
  return new Set([id, ...(check?.needs ?? []).flatMap((need) => [...needs(checks, need)])]);
}

function shown(verdicts: readonly Verdict[]): string {
  return verdicts
    .map(({ id, outcome, fact = '', hint = '', evidence, duration }) =>
      [`${id}: ${outcome} (${duration.toFixed(0)} ms) ${fact} [${hint}]`, ...evidence].join('\n    '),
    )
    .join('\n');
}

function command(program: string, args: readonly string[]): void {
  const { status, stderr, stdout } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stdout}${stderr}`);
}
