import { describe, expect, test } from 'vitest';
import { explainBuild } from '../../src/grade/explain-build.js';
import { listFixtures } from '../../src/grade/fixture.js';
import { readSources } from '../../src/grade/fixture-sources.js';
import { loadGradingOf } from '../../src/grade/load-grading.js';
import {
  isAsAsked,
  isModuleMakefile,
  kbuildAround,
  kbuildOf,
  readMakefile,
} from '../../src/intake/module-makefile.js';
import { kernelModulesChecks } from '../../src/labs/kernel-modules/checks.js';
import { virtblkiosimChecks } from '../../src/labs/virtblkiosim/checks.js';

const makefile = (text: string) => readMakefile({ name: 'Makefile', text, changes: [] });
const disk = { name: 'disk', marks: [] };

describe('makefiles', () => {
  test.each<[string, string[], boolean]>([
    ['obj-m += disk.o\n', ['disk'], true],
    ['obj-m := a.o b.o # and c.o\n', ['a', 'b'], false],
    ['NAME = disk\nobj-m := $(NAME).o\n', ['disk'], true],
    ['obj-$(CONFIG_DISK) += disk.o\n', ['disk'], false],
    ['obj-m := \\\n\tdisk.o\n', ['disk'], true],
    ['obj-y := disk.o\n', [], false],
    ['obj-m := driver/disk.o\n', ['driver/disk'], false],
  ])('%j', (text, stems, asAsked) => {
    expect(makefile(text).stems).toEqual(stems);
    expect(isAsAsked(makefile(text), disk)).toBe(asAsked);
  });

  test('for programs are told from those for modules', () => {
    const of = (text: string) => isModuleMakefile({ name: 'Makefile', text, changes: [] });
    expect(of('tool: tool.c\n\tgcc -o tool tool.c\n')).toBe(false);
    expect(of('all:\n\tmake -C /lib/modules/x/build M=$(PWD) modules\n')).toBe(true);
  });

  test('know the parts of a module', () => {
    const { parts } = makefile('obj-m := disk.o\ndisk-y := a.o\ndisk-y += b.o\n');
    expect(parts.get('disk')).toEqual(['a', 'b']);
  });

  test('of ours make one module under the name that is used here', () => {
    expect(kbuildAround({ ...disk, builtAs: 'lab_disk' }, 'disk', 'Makefile')).toContain(
      'obj-m := lab_disk.o\n',
    );
    expect(kbuildOf(disk, ['disk'])).toBe('obj-m := disk.o\n');
    expect(kbuildOf(disk, ['main', 'io'])).toBe('obj-m := disk.o\ndisk-y := main.o io.o\n');
  });
});

describe('explainBuild', () => {
  test.each<[string, RegExp]>([
    ['x.c: error: missing MODULE_LICENSE() in /submission/x.o', /names no licence/],
    ["x.c: error: GPL-incompatible module x.ko uses GPL-only symbol 'foo'", /uses foo, .* GPL only/],
    ['x.c: error: "foo" [/submission/x.ko] undefined!', /uses foo, which this kernel does not offer/],
    ['x.c:3:1: error: implicit declaration of function ‘foo’', /foo is not declared/],
    ["y.o: error: No rule to make target '/submission/y.o', needed by '/submission/'.", /asks for y.o/],
    ['Makefile:3: error: missing separator', /cannot be read/],
  ])('%s', (line, fact) => {
    expect(explainBuild(['x', line])?.fact).toMatch(fact);
  });

  test('says nothing about what it does not know', () => {
    expect(explainBuild(['x.c:1:1: error: expected ‘;’'])).toBeUndefined();
  });
});

const labs = [
  ['virtblkiosim', virtblkiosimChecks],
  ['kernel-modules', kernelModulesChecks],
] as const;

describe.each(labs)('%s', (name, checks) => {
  test('has a check for every line, and a line for every check that is for grading', async () => {
    const { lines } = await loadGradingOf(name);
    const about = new Set(checks({ modules: {}, programs: {} }).map(({ line }) => line));
    const ids = lines.map(({ id }) => id);
    expect([...about].filter((line) => line !== 'extras').sort()).toEqual(
      ids.filter((id) => id !== 'builds').sort(),
    );
  });

  test('has fixtures that name its lines, whose edits find their text', async () => {
    const { lines, golden } = await loadGradingOf(name);
    const fixtures = await listFixtures(name);
    expect(fixtures.some((fixture) => fixture.kind === 'good' && fixture.name === golden)).toBe(true);
    for (const fixture of fixtures) {
      expect(Object.keys(fixture.expect).sort(), fixture.name).toEqual(lines.map(({ id }) => id).sort());
      const outcomes = Object.entries(fixture.expect);
      if (fixture.kind === 'good')
        expect(
          outcomes.filter(([, o]) => o !== 'passed'),
          fixture.name,
        ).toEqual([]);
      for (const line of fixture.breaks ?? []) expect(fixture.expect[line], fixture.name).not.toBe('passed');
      await readSources(fixture);
    }
  });
});
