import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Console } from '../../src/console/console.js';
import { findTrouble } from '../../src/console/kernel-log.js';
import { explainInsmod } from '../../src/grade/explain-insmod.js';
import { CheckFailure, type CheckTarget } from '../../src/lab/check.js';
import { glibcRandom } from '../../src/labs/my-rng/glibc-random.js';
import { bootedChecks } from '../../src/labs/my-rng/grading/booted.js';
import { judgeAddresses, judgeCommands } from '../../src/labs/my-rng/grading/booted-answers.js';
import { consoleComplaints, sortReports } from '../../src/labs/my-rng/grading/booted-complaints.js';
import { chooseDevice, parseDevices } from '../../src/labs/my-rng/grading/booted-devices.js';
import { linesSince } from '../../src/labs/my-rng/grading/booted-find.js';
import { describeCrash, describeHang } from '../../src/labs/my-rng/grading/booted-guard.js';
import {
  explainNumbers,
  isFaithful,
  type Round,
  swap,
} from '../../src/labs/my-rng/grading/booted-numbers.js';
import { bootTestLines, describeRounds, readRounds } from '../../src/labs/my-rng/grading/booted-rounds.js';
import { placeNearest, seedOrder } from '../../src/labs/my-rng/grading/booted-sequence.js';
import { type BootedSetup, newFindings } from '../../src/labs/my-rng/grading/booted-setup.js';
import { expectSlots } from '../../src/labs/my-rng/observed.js';
import type { EventOf, ProbeEvent } from '../../src/labs/my-rng/probe.js';

const oracle = { numbers: async (seed: number, count: number) => glibcRandom(seed, count) };
const setup: BootedSetup = { oracle, driver: 'built-in', probe: '/tmp/x', bootTest: false };

describe('bootedChecks', () => {
  const checks = bootedChecks(setup);

  test('have different ids, and need only what came before them', () => {
    const seen = new Set<string>();
    for (const { id, needs = [] } of checks) {
      expect(seen.has(id)).toBe(false);
      for (const need of needs) expect(seen.has(need), `${id} needs ${need}`).toBe(true);
      seen.add(id);
    }
  });

  test('judge both lines of the driver, bad addresses after everything else that talks to it', () => {
    const charged = checks.filter((check) => check.charged);
    expect(new Set(charged.map(({ line }) => line))).toEqual(
      new Set(['driver-repeat-seed', 'driver-safe-transfer']),
    );
    expect(checks.slice(-2).map(({ id }) => id)).toEqual(['driver-bad-addresses', 'driver-kernel-log']);
  });
});

describe('seedOrder', () => {
  test('names each seed twice, never twice in a row, with 0, 0x42 and a large one', () => {
    const order = seedOrder(Buffer.from(Array.from({ length: 32 }, (_, i) => i)));
    for (const seed of order) expect(order.filter((other) => other === seed)).toHaveLength(2);
    for (const [i, seed] of order.entries()) expect(order[i + 1]).not.toBe(seed);
    expect(order).toEqual(expect.arrayContaining([0, 0x42]));
    expect(Math.max(...order)).toBeGreaterThanOrEqual(2 ** 31);
  });
});

describe('placeNearest', () => {
  test('does not hold against a driver that numbers of few bits come again', () => {
    const sequence = [27, 250, 222, 250, 22, 240, 27];
    expect(placeNearest(sequence, 250, 3)).toBe(3);
    expect(placeNearest(sequence, 27, 3)).toBe(6);
    expect(placeNearest(sequence, 222, 3)).toBe(2);
    expect(placeNearest(sequence, 1, 3)).toBe(-1);
  });
});

describe('explainNumbers', () => {
  /** A device whose numbers fill 32 bits. */
  const device = (seed: number) => glibcRandom(seed, 40).map((value) => (value * 2 + (value & 1)) >>> 0);
  const roundsOf = (change: (numbers: number[], seed: number, index: number) => number[]): Round[] =>
    [7, 0x8000_0001, 0, 7, 0].map((seed, index) => ({
      seed,
      expected: device(seed),
      actual: change(device(seed), seed, index).slice(0, 16),
    }));

  test('has nothing to explain when all is right', () => {
    expect(isFaithful(roundsOf((numbers) => numbers))).toBe(true);
    expect(isFaithful(roundsOf((numbers) => numbers.slice(1)))).toBe(false);
  });

  test.each<[string, (numbers: number[], seed: number, index: number) => number[], RegExp]>([
    ['all ones', (n) => n.map(() => 0xffff_ffff), /nothing answers at the address.*0xfebf1000/],
    ['all zero', (n) => n.map(() => 0), /every number is 0.*0xfebf1000/],
    ['the seed', (n, seed) => n.map(() => seed), /the seed itself/],
    ['a constant', (n) => n.map(() => 99), /does not read RNG for each number/],
    ['the first again', (n) => n.map(() => n[0] ?? 0), /gives the same number/],
    ['swapped', (n) => n.map(swap), /reverse order/],
    ['one byte', (n) => n.map((value) => value & 0xff), /lowest byte/],
    ['31 bits', (n) => n.map((value) => value & 0x7fff_ffff), /highest bit/],
    ['one too late', (n) => n.slice(1), /begins 1 too late/],
    ['every second', (n) => n.filter((_, i) => i % 2 === 0), /every second number is missing/],
    ['one sequence', () => device(5), /same after every seed/],
    ['no seeding', (_, __, index) => device(11 + index), /other numbers the second time/],
    ['rand()', (_, seed) => glibcRandom(seed, 16), /rand\(\) in the C library/],
    ['anything', (n) => n.map((value) => (value ^ 0x1234) >>> 0), /not those of the device/],
  ])('%s', (_, change, words) => {
    expect(explainNumbers(roundsOf(change), { address: 0xfebf1000 })).toMatch(words);
  });

  test('recognises another seed', () => {
    const rounds = roundsOf((_, seed) => device(swap(seed)));
    expect(explainNumbers(rounds, { otherSeeds: new Map([['turned round', device(swap(7))]]) })).toMatch(
      /come the numbers of the seed turned round/,
    );
  });
});

describe('chooseDevice', () => {
  const before =
    'Character devices:\n  1 mem\n 10 misc\n\nBlock devices:\n  8 sd\n---\n183 hw_random\n---\n1:3 null\n';
  const list = (majors: string, misc = '', nodes = '') =>
    parseDevices(
      `Character devices:\n  1 mem\n${majors}\nBlock devices:\n250 my_rng_driver\n---\n183 hw_random\n${misc}---\n1:3 null\n${nodes}`,
    );

  test.each([
    [
      'the name of the exercise',
      list('250 my_rng_driver\n'),
      { name: 'my_rng_driver', major: 250, minor: 0 },
    ],
    ['it before others', list('249 x\n248 my_rng_driver\n'), { name: 'my_rng_driver', major: 248, minor: 0 }],
    ['a name like it', list('249 x\n248 my-rng\n'), { name: 'my-rng', major: 248, minor: 0 }],
    ['the only new one', list('240 dice\n'), { name: 'dice', major: 240, minor: 0 }],
    ['a misc device', list('', ' 62 myrng\n'), { name: 'myrng', major: 10, minor: 62 }],
    ['its first minor', list('240 dice\n', '', '240:3 dice\n'), { name: 'dice', major: 240, minor: 3 }],
  ])('takes %s', (_, after, device) => {
    expect(chooseDevice(after, parseDevices(before))?.device).toEqual(device);
    expect(chooseDevice(after)?.device).toEqual(device);
  });

  test('takes none when there is none, or several without a name that tells', () => {
    expect(chooseDevice(list(''), parseDevices(before))).toBeUndefined();
    expect(chooseDevice(list('249 x\n248 y\n'), parseDevices(before))).toBeUndefined();
    expect(chooseDevice(parseDevices('\0garbage'))).toBeUndefined();
  });

  test('notes what differs from the exercise', () => {
    const notes = chooseDevice(list('240 my-rng\n', '', '240:0 my-rng\n'))?.notes.join('; ');
    expect(notes).toMatch(/called my-rng.*major number is 240.*\/dev\/my-rng itself/);
    expect(chooseDevice(list('250 my_rng_driver\n'))?.notes).toEqual([]);
  });
});

describe('explainInsmod', () => {
  test.each<[string, string[], string, RegExp]>([
    [
      '',
      ["x: version magic '6.6.4 SMP' should be '6.12.1 SMP'"],
      'Invalid module format',
      /another kernel: 6.6.4/,
    ],
    ['', ['x: Unknown symbol pci_foo (err -2)'], 'Unknown symbol in module', /uses the symbol pci_foo/],
    ['', [], 'insmod: ERROR: could not insert module x.ko: File exists', /loaded already/],
    ['', [], "insmod: can't insert '/tmp/x.ko': Device or resource busy", /-EBUSY/],
    ['', [], "insmod: can't insert '/tmp/x.ko': No such device", /-ENODEV/],
    [
      '',
      [],
      "insmod: can't insert '/tmp/x.ko': Cannot allocate memory",
      /gave up while loading: Cannot allocate/,
    ],
    ['', [], '', /insmod x.ko failed/],
  ])('%s%j %s', (_, log, stderr, fact) => {
    expect(explainInsmod('x.ko', stderr, log).fact).toMatch(fact);
  });
});

describe('judgeCommands', () => {
  const answer = (name: string, error: string | null = 'ENOTTY', intact = true): EventOf<'command'> => ({
    event: 'command',
    name,
    request: '0x0',
    error,
    intact,
  });

  test('wants ENOTTY, and tolerates EINVAL with a note', () => {
    expect(judgeCommands([answer('zero'), answer('tcgets')])).toEqual({ refused: 2, extra: [], notes: [] });
    expect(judgeCommands([answer('zero', 'EINVAL')]).notes.join()).toContain('EINVAL');
    expect(() => judgeCommands([answer('zero', 'EPERM')])).toThrow(/EPERM instead of ENOTTY/);
  });

  test('takes a further command of the letter for an enhancement, but no part of the two', () => {
    const judged = judgeCommands([answer('zero'), answer('get-number-2', null, false)]);
    expect(judged.extra).toEqual(['0x0 (get-number-2)']);
    expect(() => judgeCommands([answer('zero', null)])).toThrow(/reports success/);
    expect(() => judgeCommands([answer('get-1-byte', null, false)])).toThrow(/reports success/);
    expect(() => judgeCommands([answer('get-type-p', null)])).toThrow(/reports success/);
    expect(() => judgeCommands([answer('zero', 'ENOTTY', false)])).toThrow(/wrote into/);
    expect(() => judgeCommands([answer('get-number-2', null)])).toThrow(/refuses no command/);
  });
});

describe('judgeAddresses', () => {
  const names = ['null', 'unmapped', 'kernel-text', ...Array.from({ length: 8 }, (_, i) => `other-${i}`)];
  const answers = (change: (answer: EventOf<'tried'>) => string | null = () => 'EFAULT') =>
    [...[...names, 'read-only'].map((name) => ['get', name]), ...names.map((name) => ['seed', name])].map(
      ([command = '', name = '']) => {
        const tried: EventOf<'tried'> = {
          event: 'tried',
          command,
          case: name,
          address: '0x0',
          error: 'EFAULT',
        };
        return { ...tried, error: change(tried) };
      },
    );

  test('wants EFAULT from all, and all tried', () => {
    expect(() => judgeAddresses(answers(), true)).not.toThrow();
    expect(() => judgeAddresses(answers().slice(1), true)).toThrow(/22 addresses instead of 23/);
    expect(() => judgeAddresses(answers(), false)).toThrow(/read-only page/);
  });

  test('tells a copy without a check of the address from one whose result is ignored', () => {
    expect(() =>
      judgeAddresses(
        answers(() => null),
        true,
      ),
    ).toThrow(/success for get at the bad address/);
    const kernel = answers((answer) => (answer.case === 'kernel-text' ? null : 'EFAULT'));
    expect(() => judgeAddresses(kernel, true)).toThrow(/writes to a kernel address/);
    expect(() =>
      judgeAddresses(
        answers(() => 'EINVAL'),
        true,
      ),
    ).toThrow(/EINVAL instead of EFAULT/);
  });
});

describe('expectSlots', () => {
  const get = (value: number, more: object = {}): ProbeEvent => ({
    ...{ event: 'edge', command: 'get', case: 'middle', error: null, value },
    ...{ before_intact: true, after_intact: true, ...more },
  });
  const seed = (more: object = {}): ProbeEvent => ({
    ...{ event: 'edge-seed', case: 'middle', seed: 1, error: null, intact: true, next: 1, next_error: null },
    ...more,
  });
  const seeds = [seed(), seed(), seed(), seed()];

  test('wants 4 whole bytes, and none beside them', () => {
    expect(expectSlots([get(1), get(2), get(3), get(4), ...seeds], [1, 2, 3, 4])).toHaveLength(4);
    expect(() => expectSlots([get(1), get(2), get(3), ...seeds])).toThrow(CheckFailure);
    expect(() => expectSlots([get(1), get(2), get(3), get(4, { after_intact: false }), ...seeds])).toThrow(
      /bytes behind/,
    );
    const narrow = [0xa5a5a501, 0xa5a5a502, 0xa5a5a503, 0xa5a5a504].map((value) => get(value));
    expect(() => expectSlots([...narrow, ...seeds])).toThrow(/only 1 of the 4 bytes/);
    expect(() =>
      expectSlots([get(1), get(2), get(3), get(4), ...seeds.slice(1), seed({ intact: false })]),
    ).toThrow(/changed the user's memory/);
  });
});

describe('describeCrash and describeHang', () => {
  const console = (name: string) =>
    readFileSync(join(import.meta.dirname, '../fixtures/consoles', name), 'utf8');
  const reportOf = (name: string) => {
    const [report] = findTrouble(console(name));
    if (report === undefined) throw new Error('no report');
    return report;
  };

  test('name a user pointer that is touched directly', () => {
    const { fact, hint, raw } = describeCrash(reportOf('oops-smap-6.12.log'), []);
    expect(fact).toBe(
      "the driver touches the user's pointer directly in my_rng_driver_ioctl(), and the kernel ended it",
    );
    expect(hint).toContain('copy_to_user');
    expect(raw).toBe(true);
  });

  test('call a NULL pointer the user’s only when the probe was trying one', () => {
    const report = reportOf('oops-null-6.6.log');
    expect(describeCrash(report, []).raw).toBe(false);
    const address = /address: ([0-9a-f]+)/.exec(report.lines.join('\n'))?.[1] ?? '';
    const trying = `{"event":"trying","command":"get","case":"x","address":"0x${BigInt(`0x${address}`).toString(16)}"}`;
    expect(describeCrash(report, [trying]).raw).toBe(true);
  });

  test('find a lock that is left held by what had failed before', () => {
    const tried = '{"event":"tried","command":"get","case":"null","address":"0x0","error":"EFAULT"}';
    expect(describeHang([tried], { alive: true }).fact).toContain('a lock is left held');
    expect(describeHang(['{"event":"start"}'], { alive: true }).fact).not.toContain('lock');
  });

  test('say what the kernel had complained about before the hang, rather than guess', () => {
    const complaint = reportOf('atomic-sleep.log');
    for (const alive of [true, false]) {
      const { fact, hint } = describeHang(['{"event":"start"}'], { alive, complaint });
      expect(fact).toContain(`before that the kernel had complained: ${complaint.title}`);
      expect(hint).toContain('after spin_unlock()');
    }
  });

  test('what the kernel says after its crash follows from that', () => {
    const log = new Console();
    const since = { cursor: log.cursor, seconds: 0 };
    const target = { machine: { console: log } } as unknown as CheckTarget;
    log.push(console('oops-smap-6.12.log'));
    log.push(console('atomic-sleep.log'));
    expect(consoleComplaints(target, { ...newFindings(), since })).toEqual([]);
    const early = new Console();
    early.push(console('atomic-sleep.log'));
    early.push(console('oops-smap-6.12.log'));
    const found = consoleComplaints(
      { machine: { console: early } as unknown as CheckTarget['machine'] },
      {
        ...newFindings(),
        since,
      },
    );
    expect(new Set(found.map(({ kind }) => kind))).toEqual(new Set(['atomic-sleep']));
  });

  test('a report that comes twice counts once, and what a slow host brings about is only noted', () => {
    const reports = [...findTrouble(console('atomic-sleep.log')), ...findTrouble(console('rcu-stall.log'))];
    const { charged, noted } = sortReports([...reports, ...reports]);
    expect(new Set(charged.map(({ kind }) => kind))).toEqual(new Set(['atomic-sleep']));
    expect(charged.length + noted.length).toBe(reports.length);
    expect(noted.map(({ kind }) => kind)).toEqual(['rcu-stall']);
  });
});

describe('what a boot test or an application printed', () => {
  test('is read whatever its wording', () => {
    expect(readRounds(['Round 1 number 1: 5', 'x', 'Round 2 number 1: -1']).rounds).toEqual([
      [5],
      [0xffffffff],
    ]);
    expect(readRounds(['a: 1', 'b: 2', 'c: 1', 'd: 0x2']).rounds).toEqual([
      [1, 2],
      [1, 2],
    ]);
    expect(readRounds(['hello']).rounds).toEqual([]);
  });

  test('is described', () => {
    expect(
      describeRounds(
        {
          rounds: [
            [1, 2],
            [1, 2],
          ],
        },
        [1, 2],
      ),
    ).toContain("the device's numbers");
    expect(
      describeRounds(
        {
          rounds: [
            [1, 2],
            [1, 2],
          ],
        },
        [1, 3],
      ),
    ).toContain("not the device's numbers");
    expect(
      describeRounds(
        {
          rounds: [
            [1, 2],
            [2, 1],
          ],
        },
        [1, 2],
      ),
    ).toContain('differ');
    expect(describeRounds({ rounds: [[1]] }, [1])).toContain('one round only');
    expect(describeRounds({ rounds: [] }, [1])).toContain('no rounds');
  });

  test('stands between its lines', () => {
    expect(bootTestLines(['a', 'BEGIN MY-RNG TEST', 'b', 'END MY-RNG TEST', 'c'])).toEqual(['b']);
    expect(bootTestLines(['BEGIN MY-RNG TEST', 'b'])).toBeUndefined();
    expect(bootTestLines(['END MY-RNG TEST'])).toBeUndefined();
  });
});

describe('linesSince', () => {
  test('leaves out what the kernel printed earlier', () => {
    expect(linesSince(['[    1.500000] a', 'b', '[   12.000001] c'], 2)).toEqual(['b', '[   12.000001] c']);
  });
});
