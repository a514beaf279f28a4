import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { describeExit, wasCrash } from '../../src/machine/process.js';
import { environmentOf, findReport, sanitizerError } from '../../src/machine/sanitizers.js';

const recorded = (name: string) =>
  readFileSync(join(import.meta.dirname, '../fixtures/sanitizers', `${name}.log`), 'utf8').split('\n');

describe('the report of a sanitizer', () => {
  test.each([
    [
      'address',
      'AddressSanitizer: stack-buffer-overflow',
      'my_rng_ring_make (hw/misc/my-rng.c:250)',
      /^==\d+==ERROR/,
      /^SUMMARY: /,
    ],
    [
      'freed',
      'AddressSanitizer: heap-use-after-free',
      'has_work (hw/misc/my-rng-ring.c:121)',
      /^==\d+==ERROR/,
      /^SUMMARY: /,
    ],
    [
      'undefined',
      "UndefinedBehaviorSanitizer: shift exponent 524287 is too large for 32-bit type 'int'",
      'extended_write (hw/misc/my-rng.c:351)',
      /runtime error/,
      /in _start /,
    ],
  ])('%s: what, where, and no more lines than help', (name, what, where, first, last) => {
    const report = findReport(recorded(name));
    expect(report).toMatchObject({ what, where });
    expect(report?.lines[0]).toMatch(first);
    expect(report?.lines.at(-1)).toMatch(last);
    expect(report?.files).toEqual(expect.arrayContaining(['hw/misc/my-rng.c', 'system/runstate.c']));
    expect(report?.files.join()).not.toMatch(/libsanitizer|sysdeps|csu/);
  });

  test('is not seen in other words', () => {
    expect(
      findReport(['qemu-system-x86_64: warning: ERROR: something', 'runtime error: none']),
    ).toBeUndefined();
  });

  test('without a stack in QEMU still says what', () => {
    const report = findReport([
      '==3==ERROR: AddressSanitizer: SEGV on unknown address 0x000000000000 (pc 0x0)',
    ]);
    expect(report).toMatchObject({ what: 'AddressSanitizer: SEGV', where: undefined, files: [] });
  });
});

describe('a QEMU that a sanitizer has ended', () => {
  const exit = (name: string) => ({ code: 1, signal: null, lines: recorded(name) });

  test('has crashed, and says how', () => {
    expect(wasCrash(exit('freed'))).toBe(true);
    expect(describeExit(exit('freed'))).toBe(
      'was ended by AddressSanitizer: heap-use-after-free in has_work (hw/misc/my-rng-ring.c:121)',
    );
    expect(wasCrash({ code: 1, signal: null, lines: ['no report'] })).toBe(false);
  });

  test('is charged to whoever owns a file of the stack, and else to the host', () => {
    const owner = (file: string) => ({ blame: 'submission', files: [file] }) as const;
    const blame = (file: string) => sanitizerError(exit('undefined'), owner(file), undefined)?.blame;
    expect(blame('hw/misc/my-rng.c')).toBe('submission');
    expect(blame('hw/misc/other.c')).toBe('host');
    expect(sanitizerError(exit('undefined'), undefined, '/log')).toMatchObject({
      code: 'machine/sanitizer',
      blame: 'host',
      log: '/log',
    });
    expect(sanitizerError({ code: 1, signal: null, lines: [] }, owner('a.c'), undefined)).toBeUndefined();
  });

  test('was told to end at what is found; any other QEMU is told nothing', () => {
    expect(environmentOf({})).toEqual({});
    const { ASAN_OPTIONS, UBSAN_OPTIONS } = environmentOf({ sanitized: true });
    expect(`${ASAN_OPTIONS} ${UBSAN_OPTIONS}`.match(/halt_on_error=1/g)).toHaveLength(2);
  });
});
