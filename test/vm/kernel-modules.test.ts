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

/** A hand-in that most checks find right: what is different about it, and the check that does not pass. */
interface Bad {
  /** Whether it is a keyboard or both of the small modules. */
  readonly of: 'keyboard' | 'small';
  readonly code: readonly string[];
  readonly check: string;
  readonly says: RegExp;
}

const keyboard = (check: string, says: RegExp, ...code: string[]): Bad => ({
  of: 'keyboard',
  check,
  says,
  code,
});
const small = (check: string, says: RegExp, ...code: string[]): Bad => ({ of: 'small', check, says, code });

/** Cases close to right ones, and what is said about them; the plain mistakes are fixtures of the grading. */
const BAD: Readonly<Record<string, Bad>> = {
  never_waits: keyboard('keyboard-codes', /end of a file/, '#define WAIT() 0'),
  dozes: keyboard('keyboard-waits', /does not sleep/, '#define WAIT() doze(tail)'),
  polls_beside_interrupt: keyboard(
    'keyboard-codes',
    /did not get the codes|does not work for others/,
    '#define START() (mod_timer(&poller, jiffies + 1), request_irq(1, idle, IRQF_SHARED, "student", &head))',
    '#define STOP() (timer_delete_sync(&poller), free_irq(1, &head))',
  ),
  polls_fast: keyboard(
    'keyboard-waits',
    /it polls/,
    '#define START() (request_irq(1, handler, IRQF_SHARED, "student", &head) ?: start_fast())',
    '#define STOP() (hrtimer_cancel(&fast), free_irq(1, &head))',
  ),
  hello_twice: small(
    'hello-load',
    /with "Hello, world!"/,
    '#define HELLO() (pr_info("Hello, world!\\n"), pr_info("Hello, world!\\n"))',
  ),
  other_number: small(
    'ioctl-fields',
    /a right call failed with/,
    '#define COMMAND _IOW(0, 7, struct fields)',
  ),
  entry_stays: small('ioctl-entry', /outlives|failed/, '#define REMOVE() (void)0'),
  handler_stays: keyboard('keyboard-load', /./, '#define STOP() (void)0'),
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

  test.each(Object.entries(BAD))('a bad hand-in is seen: %s', async (name, bad) => {
    const verdicts = await judge(name, bad);
    const verdict = verdicts.find(({ id }) => id === bad.check);
    expect(['failed', 'crashed', 'timed-out'], shown(verdicts)).toContain(verdict?.outcome);
    expect(`${verdict?.fact} ${verdict?.hint}`, shown(verdicts)).toMatch(bad.says);
    for (const { id, outcome } of verdicts)
      if (id !== bad.check) expect(outcome, shown(verdicts)).toBe('passed');
  });

  async function judge(name: string, bad: Bad): Promise<readonly Verdict[]> {
    const lab = await loadLab('kernel-modules');
    const record = runningFor(lab, { name: 'modules' });
    if (record === undefined) throw new Error('the machine is gone');
    return await withRunning(lab, record, { signal, emit: () => {} }, timeouts, async ({ target }) => {
      const at = `/tmp/${name}.ko`;
      await put(target.guest, [{ from: join(built, `${name}.ko`), to: at }], { timeouts });
      const checks = kernelModulesChecks(setupOf(bad, at)).filter(({ line }) =>
        linesOf[bad.of].includes(line),
      );
      const needed = needs(checks, bad.check);
      const chosen = checks.filter(({ id }) => needed.has(id));
      const from = target.machine.console.cursor;
      const verdicts = await runChecks(chosen, target, { signal });
      await restore(target, name, from);
      return verdicts;
    });
  }

  function setupOf({ of }: Bad, at: string): ModuleSetup {
    const modules = of === 'keyboard' ? { keyboard: at } : { hello: at, ioctl_test: at };
    const ours = ['ioctl-probe', 'keyboard-probe'].map((program) => [program, `/usr/local/bin/${program}`]);
    return { modules, programs: Object.fromEntries(ours) };
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

  /** All hand-ins as modules of the kernel that the machine runs. */
  async function build(qemuScript: string): Promise<string> {
    const kernel = / -kernel (\S+)/.exec(await readFile(qemuScript, 'utf8'))?.[1] ?? '';
    const dir = await mkdtemp(join(tmpdir(), 'lab-modules-'));
    for (const header of ['keyboard.h', 'small.h']) await copyFile(join(fixtures, header), join(dir, header));
    const handIns = Object.entries(BAD);
    for (const [name, { of, code }] of handIns) {
      await writeFile(join(dir, `${name}.c`), `${code.join('\n')}\n#include "${of}.h"\n`);
    }
    const objects = handIns.map(([name]) => `${name}.o`).join(' ');
    await writeFile(join(dir, 'Kbuild'), `obj-m += ${objects}\nccflags-y += -Wno-error\n`);
    command('make', ['-j2', '-C', join(dirname(kernel), 'kbuild'), `M=${dir}`, 'modules']);
    return dir;
  }
});

const linesOf: Readonly<Record<Bad['of'], readonly string[]>> = {
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
