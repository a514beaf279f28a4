import { describe, expect, test } from 'vitest';
import { CheckFailure } from '../../src/lab/check.js';
import { kernelModulesChecks } from '../../src/labs/kernel-modules/checks.js';
import { Choice } from '../../src/labs/kernel-modules/choice.js';
import { explain, formOf } from '../../src/labs/kernel-modules/code-forms.js';
import { readProbe } from '../../src/labs/kernel-modules/ioctl-probe.js';
import { bytesOf, eventsOf, parseKeyboardEvent } from '../../src/labs/kernel-modules/keyboard-events.js';
import { lab } from '../../src/labs/kernel-modules/lab.js';
import { codesOf, type Key, keys, rows, typed } from '../../src/labs/kernel-modules/scan-codes.js';

const key = (name: string): Key => keys.find((candidate) => candidate.name === name) as Key;
const text = (value: string) => Buffer.from(value, 'latin1');

describe('scan codes', () => {
  // Some codes of every run and all prefixed ones that drivers get wrong, from the specification.
  test.each([
    ['esc', [0x01], 1],
    ['0', [0x0b], 11],
    ['backspace', [0x0e], 14],
    ['q', [0x10], 16],
    ['ret', [0x1c], 28],
    ['a', [0x1e], 30],
    ['grave_accent', [0x29], 41],
    ['backslash', [0x2b], 43],
    ['m', [0x32], 50],
    ['slash', [0x35], 53],
    ['spc', [0x39], 57],
    ['f10', [0x44], 68],
    ['kp_7', [0x47], 71],
    ['kp_decimal', [0x53], 83],
    ['less', [0x56], 86],
    ['f12', [0x58], 88],
    ['kp_enter', [0xe0, 0x1c], 96],
    ['up', [0xe0, 0x48], 103],
    ['delete', [0xe0, 0x53], 111],
    ['meta_l', [0xe0, 0x5b], 125],
  ])('%s', (name, codes, event) => {
    expect(codesOf([{ key: key(name), down: true }])).toEqual(codes);
    expect(key(name).event).toBe(event);
  });

  test('a release has bit 7 set, behind the same prefix', () => {
    expect(codesOf(typed([key('a'), key('up')]))).toEqual([0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8]);
  });

  test('no two keys share a name, a code, or a number of Linux', () => {
    for (const of of [
      (k: Key) => k.name,
      (k: Key) => `${k.extended} ${k.code}`,
      (k: Key) => String(k.event),
    ]) {
      expect(new Set(keys.map(of)).size).toBe(keys.length);
    }
    expect(rows.map((row) => row.length)).toEqual([12, 12, 11, 10]);
  });

  test('no release looks like a prefix', () => {
    for (const { code } of keys) expect(code | 0x80).toBeLessThan(0xe0);
  });
});

describe('choices', () => {
  test('follow from the seed and the label', () => {
    const seed = Buffer.alloc(32, 7);
    const some = (label: string) => new Choice(seed, label).some(keys, 8).map(({ name }) => name);
    expect(some('a')).toEqual(some('a'));
    expect(some('a')).not.toEqual(some('b'));
    expect(new Set(some('a')).size).toBe(8);
  });
});

describe('codes as they were received', () => {
  const expected = [0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8];
  test.each([
    ['bytes', Buffer.from(expected)],
    ['hexadecimal numbers', text('key 1e pressed\nkey 9e released\n e0 48\r\n e0 c8\n')],
    ['hexadecimal numbers', text('Waiting (2 s)...\n0x1e 0x9E 0xe0 0x48 0xE0 0xc8\n')],
    ['decimal numbers', text('code 30\ncode 158\ncode 224\ncode 72\ncode 224\ncode 200\n')],
    ['decimal numbers', text('30\n-98\n-32\n72\n-32\n-56\n')],
  ])('%s', (form, received) => {
    expect(formOf(received, expected)).toBe(form);
  });

  test.each([
    ['too few', Buffer.from(expected.slice(0, -1))],
    ['too many', Buffer.from([...expected, 0x1e])],
    ['one before', Buffer.from([0x10, ...expected])],
    ['wrong text', text('1e 9e e0 48 e0 c9')],
    ['nothing', Buffer.alloc(0)],
  ])('%s', (_, received) => {
    expect(formOf(received, expected)).toBeUndefined();
  });

  test.each([
    [[], /nothing arrived/],
    [[0x1e, 0x30], /only the codes of presses/],
    [[0x1f, 0x9f, 0x31, 0xb1], /off by 1/],
    [[0x1d, 0x9d, 0x2f, 0xaf], /off by -1/],
    [[0xaa, 0x1e, 0x9e, 0x30], /one key late/],
    [[0x1e, 0x1e, 0x9e, 0x9e, 0x30, 0x30, 0xb0, 0xb0], /twice/],
  ])('%j is explained', (received, hint) => {
    expect(explain(Buffer.from(received), [0x1e, 0x9e, 0x30, 0xb0]).hint).toMatch(hint);
  });

  test('the first wrong code is counted, and text is shown as it was', () => {
    const { evidence } = explain(text('code 30\ncode 158\ncode 7\n'), [30, 158, 48]);
    expect(evidence.join('\n')).toContain('the first 2 codes are right');
    expect(evidence.join('\n')).toContain('read as decimal numbers');
    expect(evidence.join('\n')).toContain('code 7');
  });
});

describe('what the probes print', () => {
  const run = (stdout: string) => ({ stdout, stderr: '', exitCode: 0, log: ['BUG: unable to handle'] });

  test('a call that came back', () => {
    const lines = [
      '{"event":"start","subcommand":"call"}',
      '{"event":"trying","name":"call"}',
      '{"event":"tried","name":"call","error":"EFAULT"}',
      '{"event":"end","status":0}',
    ];
    expect(readProbe(run(lines.join('\n')))).toMatchObject([{ name: 'call', error: 'EFAULT' }]);
    expect(() => readProbe(run(lines.slice(0, 2).join('\n')))).toThrow(/made the call "call"/);
  });

  test('a file that does not open, and lines that no probe prints', () => {
    const blocked = '{"event":"blocked","what":"open","error":"ENOENT"}';
    expect(() => readProbe(run(blocked))).toThrow(/does not open: ENOENT/);
    expect(() => readProbe(run('{"event":"tried"}'))).toThrow(CheckFailure);
    expect(() => parseKeyboardEvent('{"event":"bytes","reader":0,"at":1,"data":"1"}')).toThrow(CheckFailure);
    expect(() => parseKeyboardEvent('1e pressed')).toThrow(CheckFailure);
  });

  test('bytes of several readers are kept apart', () => {
    const events = [
      '{"event":"bytes","reader":0,"at":1,"data":"1e"}',
      '{"event":"bytes","reader":1,"at":1,"data":"30b0"}',
      '{"event":"bytes","reader":0,"at":2,"data":"9e"}',
      '{"event":"ended","reader":1}',
    ].map(parseKeyboardEvent);
    expect([...bytesOf(events, 0)]).toEqual([0x1e, 0x9e]);
    expect([...bytesOf(events, 1)]).toEqual([0x30, 0xb0]);
    expect(eventsOf(events, 'ended', 1)).toHaveLength(1);
    expect(eventsOf(events, 'ended', 0)).toHaveLength(0);
  });
});

describe('the checks', () => {
  test('each belongs to a line and to a machine, and needs only checks of its own machine', () => {
    const checks = kernelModulesChecks({ modules: {}, programs: {} });
    const machineOf = new Map(checks.map(({ id, machine }) => [id, machine]));
    for (const { id, machine, needs = [] } of checks) {
      expect(
        needs.filter((need) => machineOf.get(need) !== machine),
        id,
      ).toEqual([]);
    }
    expect(lab.checks.map(({ id }) => id)).toEqual(checks.map(({ id }) => id));
  });
});
