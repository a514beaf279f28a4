import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Console } from '../../src/console/console.js';
import { LabError } from '../../src/errors.js';
import { runChecks } from '../../src/grade/run-checks.js';
import { killedForMemory } from '../../src/host/memory.js';
import { type Check, type CheckContext, CheckFailure, type CheckTarget } from '../../src/lab/check.js';
import type { QemuExit } from '../../src/machine/machine.js';
import { scaled } from '../../src/timeouts.js';
import { inJail, makeTree } from '../support/jails.js';
import { useTempFolder } from '../support/temp.js';

const folder = useTempFolder();
const never = new AbortController().signal;

const FOREVER = new Promise<never>(() => {});

/** Only what the runner itself looks at: the console and the end of the machine. */
function makeTarget(exited: Promise<QemuExit> = FOREVER, halted: Promise<never> = FOREVER): CheckTarget {
  const console = new Console();
  console.push('last words\n');
  return { machine: { console, exited, halted }, timeouts: scaled(1) } as unknown as CheckTarget;
}

function check(id: string, run: (context: CheckContext) => Promise<void>, more: Partial<Check> = {}): Check {
  return { id, title: id, deadline: 5000, run, ...more };
}

const passes = (id: string) => check(id, async ({ prove }) => prove('seen'));

/** Fills more memory than a jail may have; as root its control group then has it killed. */
async function fillMemory(): Promise<void> {
  const tree = await makeTree(join(folder.path, 'tree'));
  await inJail(tree, `python3 -c 'b = bytearray(b"x") * (600 << 20)'`);
}

describe('runChecks', () => {
  test('a pass needs proof', async () => {
    const [good, empty] = await runChecks([passes('a'), check('b', async () => {})], makeTarget(), {
      signal: never,
    });
    expect(good).toMatchObject({ outcome: 'passed', proof: ['seen'] });
    expect(empty).toMatchObject({ outcome: 'error', blame: 'host' });
  });

  test('tells a wrong submission, a fault of the host and a lost guest apart', async () => {
    const lost = new LabError({ code: 'guest/lost', blame: 'host', fact: 'lost', next: '' });
    const verdicts = await runChecks(
      [
        check('failed', async () => {
          throw new CheckFailure('wrong', ['expected: 1'], 'a hint');
        }),
        check('host', async () => {
          throw new LabError({ code: 'run/failed', blame: 'host', fact: 'no disk', next: '' });
        }),
        check('crashed', async () => {
          throw lost;
        }),
        passes('after'),
      ],
      makeTarget(),
      { signal: never },
    );
    expect(verdicts.map(({ outcome, blame }) => [outcome, blame])).toEqual([
      ['failed', 'submission'],
      ['error', 'host'],
      ['crashed', 'submission'],
      ['blocked', undefined],
    ]);
    expect(verdicts[0]).toMatchObject({ fact: 'wrong', evidence: ['expected: 1'], hint: 'a hint' });
  });

  test('a check may say that the machine is of no further use', async () => {
    const spoils = check('spoils', async () => {
      throw new CheckFailure('the kernel crashed', ['Oops'], 'a hint', 'crashed');
    });
    const verdicts = await runChecks([spoils, passes('after')], makeTarget(), { signal: never });
    expect(verdicts[0]).toMatchObject({ outcome: 'crashed', blame: 'submission', evidence: ['Oops'] });
    expect(verdicts[1]).toMatchObject({ outcome: 'blocked', fact: 'the machine did not survive spoils' });
  });

  test('what a machine left behind may still tell against a check that did not come to run', async () => {
    const spoils = check('spoils', async () => {
      throw new CheckFailure('the guest hangs', [], undefined, 'crashed');
    });
    const postMortem = () =>
      new CheckFailure('the kernel complains', ['BUG: scheduling while atomic'], 'why');
    const later = [
      check('told', async ({ prove }) => prove('never'), { postMortem }),
      check('untold', async ({ prove }) => prove('never'), { postMortem: () => undefined }),
    ];
    const verdicts = await runChecks([spoils, ...later], makeTarget(), { signal: never });
    expect(verdicts[1]).toMatchObject({
      ...{ outcome: 'failed', blame: 'submission', fact: 'the kernel complains', hint: 'why', proof: [] },
      evidence: ['the machine did not survive spoils', 'BUG: scheduling while atomic'],
    });
    expect(verdicts[2]?.outcome).toBe('blocked');
    const alive = await runChecks(later, makeTarget(), { signal: never });
    expect(alive.map(({ outcome }) => outcome)).toEqual(['passed', 'passed']);
    const line = 'qemu-system-x86_64: terminating on signal 15 from pid 4711 (kill)';
    const ended = makeTarget(Promise.resolve({ code: null, signal: null, lines: [line] }));
    const hangs = check('hangs', () => new Promise(() => {}));
    const [, told] = await runChecks([hangs, ...later], ended, { signal: never });
    expect(told?.outcome, 'a fault of the host').toBe('blocked');
  });

  test('the end of QEMU ends the check at once, with the console', async () => {
    const exit = { code: null, signal: 'SIGSEGV', lines: [] };
    const target = makeTarget(delay(20).then(() => exit));
    const [verdict] = await runChecks([check('a', () => new Promise(() => {}))], target, { signal: never });
    expect(verdict).toMatchObject({ outcome: 'crashed', fact: 'QEMU ended (SIGSEGV)' });
  });

  test('a QEMU that somebody else ended is a fault of the host, and nothing more is tried on it', async () => {
    const line = 'qemu-system-x86_64: terminating on signal 15 from pid 4711 (kill)';
    const target = makeTarget(Promise.resolve({ code: null, signal: null, lines: [line] }));
    const hangs = check('a', () => new Promise(() => {}));
    const verdicts = await runChecks([hangs, passes('next')], target, { signal: never });
    expect(verdicts[0]).toMatchObject({
      outcome: 'error',
      blame: 'host',
      fact: 'QEMU was ended from outside: terminating on signal 15 from pid 4711 (kill)',
    });
    expect(verdicts[1]).toMatchObject({ outcome: 'blocked', fact: 'the machine did not survive a' });
  });

  test('a QEMU that is gone when the host ran out of memory is a fault of the host', async (context) => {
    const before = killedForMemory();
    const target = makeTarget(fillMemory().then(() => ({ code: null, signal: null, lines: [] })));
    const hangs = check('a', () => new Promise(() => {}), { deadline: 30_000 });
    const [verdict] = await runChecks([hangs], target, { signal: never });
    context.skip(killedForMemory() === before, 'only root has processes killed for memory');
    expect(verdict).toMatchObject({ outcome: 'error', blame: 'host' });
    expect(verdict?.fact).toMatch(/ended from outside: .* killed (a process|\d+ processes) for memory/);
  });

  test('a guest that QEMU has stopped for want of room on the disk is a fault of the host', async () => {
    const full = new LabError({
      ...{ code: 'machine/disk-full', blame: 'host', fact: 'no room', next: '' },
      evidence: ['0 MiB'],
    });
    const halted = delay(20).then(() => Promise.reject(full));
    const hangs = check('a', () => new Promise(() => {}));
    const verdicts = await runChecks([hangs, passes('next')], makeTarget(FOREVER, halted), { signal: never });
    expect(verdicts[0]).toMatchObject({
      outcome: 'error',
      blame: 'host',
      fact: 'no room',
      evidence: ['0 MiB'],
    });
    expect(verdicts[1]?.outcome).toBe('blocked');
  });

  test.each(['guest/lost', 'monitor/closed'])('%s waits for how QEMU ends', async (code) => {
    const target = makeTarget(delay(300).then(() => ({ code: null, signal: 'SIGSEGV', lines: [] })));
    const cut = check('a', () =>
      Promise.reject(new LabError({ code, blame: 'host', fact: 'cut', next: '' })),
    );
    const [verdict] = await runChecks([cut], target, { signal: never });
    expect(verdict).toMatchObject({ outcome: 'crashed', fact: 'QEMU ended (SIGSEGV)' });
  });

  test('a device that only says so is charged: how our own child ended is known', async () => {
    const lines = ['qemu-system-x86_64: terminating on signal 15 from pid 4711 (kill)'];
    const target = makeTarget(Promise.resolve({ code: 0, signal: null, lines }));
    const [verdict] = await runChecks([check('a', () => new Promise(() => {}))], target, { signal: never });
    expect(verdict).toMatchObject({ outcome: 'crashed', blame: 'submission' });
  });

  test('a panic on the console ends the check at once', async () => {
    const target = makeTarget();
    const hangs = check('a', ({ machine }) => {
      (machine.console as Console).push('[    9.1] Kernel panic - not syncing: sysrq triggered crash\n');
      return new Promise(() => {});
    });
    const [verdict] = await runChecks([hangs], target, { signal: never });
    expect(verdict).toMatchObject({
      outcome: 'crashed',
      fact: 'Kernel panic - not syncing: sysrq triggered crash',
    });
  });

  test('the panic is in the evidence however much the kernel prints after it', async () => {
    const target = makeTarget();
    const hangs = check('a', ({ machine }) => {
      const panic = 'Kernel panic - not syncing: sysrq triggered crash';
      const dump = Array.from({ length: 50 }, (_, i) => `register ${i}`);
      (machine.console as Console).push(`${['the cause', panic, ...dump].join('\n')}\n`);
      return new Promise(() => {});
    });
    const [verdict] = await runChecks([hangs], target, { signal: never });
    expect(verdict?.evidence.slice(0, 3)).toEqual([
      'the cause',
      'Kernel panic - not syncing: sysrq triggered crash',
      'register 0',
    ]);
  });

  test('each check has its own deadline, and is told to stop', async () => {
    let stopped = false;
    const hangs = check(
      'hangs',
      ({ signal }) =>
        new Promise(() => {
          signal.addEventListener('abort', () => {
            stopped = true;
          });
        }),
      { deadline: 30 },
    );
    const verdicts = await runChecks([hangs, passes('next')], makeTarget(), { signal: never });
    expect(verdicts.map(({ outcome }) => outcome)).toEqual(['timed-out', 'passed']);
    expect(stopped).toBe(true);
  });

  test('what builds on a check that did not pass is blocked; what does not apply is skipped', async () => {
    const verdicts = await runChecks(
      [
        check('base', async () => {
          throw new CheckFailure('no');
        }),
        check('on-base', async ({ prove }) => prove('x'), { needs: ['base'] }),
        check('not-here', async ({ prove }) => prove('x'), { skip: () => 'other variant' }),
      ],
      makeTarget(),
      { signal: never },
    );
    expect(verdicts.map(({ outcome }) => outcome)).toEqual(['failed', 'blocked', 'skipped']);
  });
});
