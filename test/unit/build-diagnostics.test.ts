import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compilationOf } from '../../src/build/compile.js';
import type { Contribution } from '../../src/build/contribution.js';
import { formatDiagnostics, parseDiagnostics } from '../../src/build/diagnostics.js';

/** What the tools printed when the fault was really made, in the tree /w/src built at /w/build. */
function recorded(name: string): string[] {
  return readFileSync(join(import.meta.dirname, '../fixtures/build', `${name}.txt`), 'utf8').split('\n');
}

const device: Contribution = { kind: 'file', to: 'hw/misc/my-rng.c', from: '/home/me/my-rng.c' };
const tree = {
  dir: '/w',
  src: '/w/src',
  build: '/w/build',
  pristine: '/pristine',
  source: '',
  blame: 'host' as const,
  contributed: new Map<string, Contribution>([
    ['hw/misc/my-rng.c', device],
    ['drivers/misc/my-rng.c', { kind: 'file', to: 'drivers/misc/my-rng.c', from: '/home/me/driver.c' }],
    ['drivers/misc/Makefile', { kind: 'edit', path: 'drivers/misc/Makefile', where: 'end', text: '' }],
  ]),
  interrupted: false,
};
const { locate, owner } = compilationOf('QEMU', tree);

function errorsOf(name: string): string[] {
  return formatDiagnostics(parseDiagnostics(recorded(name), locate).filter((d) => d.severity === 'error'));
}

describe('parseDiagnostics', () => {
  it('reads gcc: errors, warnings with their option, notes', () => {
    expect(formatDiagnostics(parseDiagnostics(recorded('qemu-compile-error'), locate))).toEqual([
      "hw/misc/my-rng.c:7:12: error: 'missing_symbol' undeclared (first use in this function)",
      'hw/misc/my-rng.c:7:12: note: each undeclared identifier is reported only once for each function it appears in',
      "hw/misc/my-rng.c:6:9: warning: unused variable 'unused' [-Wunused-variable]",
      "hw/misc/my-rng.c:10:5: warning: no previous prototype for 'my_rng_read' [-Wmissing-prototypes]",
      "hw/misc/my-rng.c:12:21: warning: initializer-string for array of 'char' is too long",
      "hw/misc/my-rng.c:13:34: warning: implicit declaration of function 'not_declared' [-Wimplicit-function-declaration]",
      "hw/misc/my-rng.c:13:34: warning: nested extern declaration of 'not_declared' [-Wnested-externs]",
      'hw/misc/my-rng.c:8:1: warning: control reaches end of non-void function [-Wreturn-type]',
    ]);
  });

  it('reads warnings that the kernel turns into errors', () => {
    expect(errorsOf('linux-werror')).toEqual([
      'drivers/misc/my-rng.c:8:13: error: unused variable ‘unused’ [-Wunused-variable]',
      'drivers/misc/my-rng.c:11:9: error: ignoring return value of ‘copy_to_user’ declared with attribute ' +
        '‘warn_unused_result’ [-Wunused-result]',
    ]);
  });

  it('finds the source of an object that the linker complains about', () => {
    expect(errorsOf('qemu-link-error')).toEqual([
      "hw/misc/my-rng.c: error: undefined reference to `not_declared'",
    ]);
  });

  it.each([
    ['qemu-meson-missing-file', 'hw/misc/meson.build:160:14: error: File my-rgn.c does not exist.'],
    ['qemu-meson-syntax', 'hw/misc/meson.build:160:19: error: Expecting rparen got string.'],
    ['qemu-kconfig-meson-log', 'hw/misc/Kconfig:227:5: error: Expected identifier starting with "CONFIG_"'],
    ['linux-kconfig-error', 'drivers/misc/Kconfig:633: error: unknown statement "boolean"'],
    ['linux-makefile-error', 'drivers/misc/Makefile:75: error: missing separator.'],
    [
      'linux-missing-file',
      "drivers/misc/my-rgn.o: error: No rule to make target 'drivers/misc/my-rgn.o', needed by " +
        "'drivers/misc/built-in.a'.",
    ],
    ['linux-modpost', '/w/module/my_rng.o: error: "nowhere_defined" [/w/module/my_rng.ko] undefined!'],
    ['linux-modpost', '/w/module/my_rng.o: error: missing MODULE_LICENSE() in /w/module/my_rng.o'],
  ])('reads %s', (name, expected) => {
    expect(errorsOf(name)).toContain(expected);
  });

  it('reads objtool and ninja', () => {
    const lines = [
      'drivers/misc/my-rng.o: warning: objtool: f+0x12: call without frame pointer save/setup',
      "ninja: error: '../src/hw/misc/my-rng.c', needed by 'libcommon.a.p/hw_misc_my-rng.c.o', missing and no known rule to make it",
    ];
    expect(parseDiagnostics(lines, locate)).toEqual([
      {
        file: 'drivers/misc/my-rng.c',
        severity: 'warning',
        message: 'objtool: f+0x12: call without frame pointer save/setup',
      },
      {
        file: 'hw/misc/my-rng.c',
        severity: 'error',
        message: "needed by 'libcommon.a.p/hw_misc_my-rng.c.o', missing and no known rule to make it",
      },
    ]);
  });

  it('says a finding once, however often it is printed', () => {
    const line = 'a.h:1:2: warning: x [-Wundef]';
    expect(parseDiagnostics([line, line])).toEqual([
      { file: 'a.h', line: 1, column: 2, severity: 'warning', message: 'x', flag: '-Wundef' },
    ]);
  });

  it('takes what it prints itself, and never throws', () => {
    const word = fc.stringMatching(/^[a-z][a-z ]{0,12}[a-z]$/);
    const diagnostic = fc.record({
      file: fc.stringMatching(/^[a-z/]{1,12}\.[ch]$/),
      line: fc.integer({ min: 1, max: 99_999 }),
      column: fc.integer({ min: 1, max: 200 }),
      severity: fc.constantFrom('error' as const, 'warning' as const, 'note' as const),
      message: word,
    });
    fc.assert(
      fc.property(diagnostic, (one) => {
        expect(parseDiagnostics(formatDiagnostics([one]))).toEqual([one]);
      }),
    );
    fc.assert(fc.property(fc.array(fc.string()), (lines) => void parseDiagnostics(lines)));
  });
});

describe('compilationOf', () => {
  it('knows whose file is at fault', () => {
    expect(owner('hw/misc/my-rng.c')).toEqual({ path: '/home/me/my-rng.c', blame: 'user' });
    expect(owner('hw/misc/edu.c')).toBeUndefined();
  });

  it('charges an object that nobody can make to the makefile that asks for it', () => {
    expect(owner('drivers/misc/my-rgn.o')).toEqual({ path: 'drivers/misc/Makefile', blame: 'user' });
    expect(owner('drivers/block/x.o')).toBeUndefined();
  });
});
