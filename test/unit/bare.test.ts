import { describe, expect, test } from 'vitest';
import { interrupted, LabError } from '../../src/errors.js';
import { CheckFailure } from '../../src/lab/check.js';
import { bareChecks, bareDevices } from '../../src/labs/my-rng/grading/bare.js';
import { Blocked, NotApplicable } from '../../src/labs/my-rng/grading/bare-check.js';
import { DeviceDied, during } from '../../src/labs/my-rng/grading/bare-rng.js';
import { judge, needsExit } from '../../src/labs/my-rng/grading/bare-verdict.js';
import { keyedNumbers } from '../../src/labs/my-rng/grading/keyed.js';
import { glibcOracle, keyedOracle } from '../../src/labs/my-rng/grading/oracle.js';
import { bareArguments } from '../../src/machine/bare.js';
import { describeExit, missingDevice, wasCrash } from '../../src/machine/process.js';

const died = (code: string) =>
  new DeviceDied('a 4-byte read at offset 0x0', new LabError({ code, blame: 'host', fact: 'f', next: 'n' }));
const exit = (code: number | null, signal: string | null, lines: string[] = []) => ({ code, signal, lines });

describe('a bare machine', () => {
  test('has the devices in order, and nothing that reaches outside', () => {
    const args = bareArguments({
      qemu: { binary: '/q', dataDirs: ['/q/share'] },
      devices: bareDevices('my_rng', 2),
      extra: ['-sandbox', 'on'],
    });
    const devices = args.filter((_, index) => args[index - 1] === '-device');
    expect(devices).toEqual(['my_rng,id=rng0', 'my_rng,id=rng1']);
    expect(args).toContain('-nodefaults');
    expect(args.slice(args.indexOf('-accel'), args.indexOf('-accel') + 2)).toEqual(['-accel', 'qtest']);
    expect(args.slice(args.indexOf('-sandbox'), args.indexOf('-sandbox') + 2)).toEqual(['-sandbox', 'on']);
    expect(args.join(' ')).not.toMatch(/path=|server=|-netdev|-drive/);
  });

  test.each([
    [exit(null, 'SIGSEGV'), 'was killed by SIGSEGV', true],
    [exit(139, null), 'was killed by SIGSEGV', true],
    [exit(134, null), 'was killed by SIGABRT', true],
    [exit(0, null), 'exited with code 0', false],
    [exit(1, null), 'exited with code 1', false],
    [exit(255, null), 'exited with code 255', false],
    [exit(null, null), 'could not be started', false],
  ])('%j: it %s', (end, words, crash) => {
    expect(describeExit(end)).toBe(words);
    expect(wasCrash(end)).toBe(crash);
  });

  test('a device that was not compiled is recognised by QEMU’s words', () => {
    const said = ["qemu: -device my_rng: 'my_rng' is not a valid device model name"];
    expect(missingDevice(exit(1, null, said), 'submission')).toMatchObject({
      code: 'machine/no-device',
      blame: 'submission',
    });
    expect(missingDevice(exit(1, null, ['something else']), 'submission')).toBeUndefined();
  });
});

describe('verdicts of the bare lane', () => {
  test.each([
    [new CheckFailure('wrong', ['seen'], 'do'), { outcome: 'failed', blame: 'submission', hint: 'do' }],
    [new Blocked('elsewhere'), { outcome: 'blocked', fact: 'elsewhere' }],
    [new NotApplicable('no second'), { outcome: 'skipped', fact: 'no second' }],
    [died('qtest/timeout'), { outcome: 'timed-out', blame: 'submission' }],
    [died('monitor/timeout'), { outcome: 'timed-out', blame: 'submission' }],
    [died('qtest/closed'), { outcome: 'crashed', blame: 'submission', evidence: ['QEMU: last words'] }],
    [died('qtest/protocol'), { outcome: 'failed', blame: 'submission' }],
  ])('%s', (error, verdict) => {
    expect(judge(error, exit(null, 'SIGSEGV', ['last words']))).toMatchObject(verdict);
  });

  test('a crash names the access and the signal', () => {
    expect(judge(died('qtest/closed'), exit(null, 'SIGSEGV')).fact).toBe(
      'QEMU was killed by SIGSEGV during a 4-byte read at offset 0x0',
    );
  });

  test.each([
    ['machine/no-device', 'failed'],
    ['machine/start', 'failed'],
    ['machine/start-crashed', 'crashed'],
    ['machine/start-timeout', 'timed-out'],
  ])('%s is %s', (code, outcome) => {
    const error = new LabError({ code, blame: 'submission', fact: 'f', next: 'n' });
    expect(judge(error, undefined)).toMatchObject({ outcome, blame: 'submission', hint: 'n' });
  });

  test('faults of the host and of our own are not verdicts', () => {
    const host = new LabError({ code: 'machine/spawn', blame: 'host', fact: 'f', next: 'n' });
    expect(() => judge(host, undefined)).toThrow(host);
    expect(() => judge(new TypeError('ours'), undefined)).toThrow(TypeError);
    expect(() => judge(interrupted('it'), undefined)).toThrow('interrupted');
  });

  test('what is done to a device names itself in an error, once', async () => {
    const closed = new LabError({ code: 'qtest/closed', blame: 'submission', fact: 'f', next: 'n' });
    const inner = during('inner', Promise.reject(closed));
    await expect(during('outer', inner)).rejects.toMatchObject({ during: 'inner', cause: closed });
    await expect(during('any', Promise.reject(interrupted('x')))).rejects.toMatchObject({
      code: 'interrupted',
    });
  });

  test('only what leaves the machine in use is judged without its end', () => {
    const left = [new CheckFailure('f'), new Blocked('b'), new NotApplicable('n'), died('qtest/closed')];
    expect(left.map(needsExit)).toEqual([false, false, false, true]);
  });
});

describe('the checks of the bare lane', () => {
  test('seeding comes first, on a machine where nothing was done; what changes state has its own', () => {
    expect(bareChecks[0]).toMatchObject({ id: 'seed-repeats', machine: 'first' });
    const own = bareChecks.findIndex(({ machine }) => machine === 'own');
    expect(bareChecks.slice(own).map(({ machine }) => machine)).not.toContain('first');
    expect(new Set(bareChecks.map(({ id }) => id)).size).toBe(bareChecks.length);
  });
});

describe('what the reference devices give', () => {
  const key = '00112233445566778899';

  test('keyed numbers: a vector computed by the device itself', () => {
    expect(keyedNumbers(key, 0x42, 0, 3)).toEqual([2441613388, 1745983336, 721590947]);
    expect(keyedNumbers(key.toUpperCase(), 0x42, 1, 2)).toEqual([1745983336, 721590947]);
  });

  test('seed, index and key count in full', () => {
    const first = (seed: number, from = 0, secret = key) => keyedNumbers(secret, seed, from, 1)[0];
    const all = [
      first(0),
      first(0x80000000),
      first(1),
      first(0, 1),
      first(0, 2 ** 32),
      first(0, 0, `${key}01`),
    ];
    expect(new Set(all).size).toBe(all.length);
  });

  test('oracles', async () => {
    expect(await glibcOracle.numbers(0x42, 2)).toEqual([286129175, 1594929109]);
    expect(await keyedOracle(key).numbers(0x42, 1)).toEqual([2441613388]);
  });
});
