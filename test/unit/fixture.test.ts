import { describe, expect, test } from 'vitest';
import { listFixtures } from '../../src/grade/fixture.js';
import { fixtureSchemas } from '../../src/grade/fixture-schema.js';
import { readSources } from '../../src/grade/fixture-sources.js';

const fixtures = await listFixtures('my-rng');
const [first] = fixtures;
const lines = first?.layout.lines ?? [];
const of = (kind: string) => fixtures.filter((fixture) => fixture.kind === kind);
const outcomes = (expected: string | readonly string[] | undefined) => [expected ?? []].flat();

describe('the fixtures of my-rng', () => {
  test('are as many as grading needs, each with a name and a title of its own', () => {
    expect(of('good').length).toBeGreaterThanOrEqual(14);
    expect(of('bad').length).toBeGreaterThanOrEqual(28);
    expect(of('hostile').length).toBeGreaterThanOrEqual(16);
    expect(new Set(fixtures.map(({ name }) => name)).size).toBe(fixtures.length);
    expect(new Set(fixtures.map(({ title }) => title)).size).toBe(fixtures.length);
  });

  test.each(fixtures.map((fixture) => [fixture.name, fixture] as const))(
    '%s: every edit finds its text once, and nothing lies beside it unused',
    async (_, fixture) => {
      const sources = await readSources(fixture);
      expect(sources.size).toBeGreaterThanOrEqual(9);
    },
  );

  test('name an outcome for every line, never the host’s fault', () => {
    for (const { name, expect: expected } of fixtures) {
      expect(Object.keys(expected).sort(), name).toEqual([...lines].sort());
      expect(Object.values(expected).flat(), name).not.toContain('error');
    }
  });

  test('that are good keep all lines, but that of a patch where there is none', () => {
    const noPatch = (style: string) => ['loose', 'flat', 'module'].includes(style);
    for (const { name, expect: expected, handIn } of of('good')) {
      const without = (['device', 'driver'] as const).filter((half) => noPatch(handIn[half].style));
      expect(
        lines.filter((id) => !outcomes(expected[id]).includes('passed')),
        name,
      ).toEqual(without.map((half) => `${half}-patch-applies`));
    }
  });

  test('that are bad lose the lines that they break', () => {
    for (const { name, breaks = [], expect: expected } of of('bad')) {
      expect(
        breaks.filter((id) => outcomes(expected[id]).includes('passed')),
        name,
      ).toEqual([]);
    }
  });

  test('that are bad in one half keep the lines of the other', () => {
    for (const { name, breaks = [], expect: expected } of of('bad')) {
      const half = (id: string) => id.split('-')[0];
      if (new Set(breaks.map(half)).size > 1) continue;
      const others = lines.filter((id) => half(id) !== half(breaks[0] ?? ''));
      const kept = others.filter((id) => expected[id] === 'passed');
      expect(kept, name).toEqual(name.endsWith('-alone') ? kept : others);
    }
  });

  test.each(lines)('break %s at least twice', (id) => {
    expect(of('bad').filter(({ breaks }) => breaks?.includes(id)).length).toBeGreaterThanOrEqual(2);
  });

  test('that are hostile say what would be seen outside', () => {
    for (const { name, witness = [] } of of('hostile')) expect(witness.length, name).toBeGreaterThan(0);
  });
});

describe('fixture.json', () => {
  const good = { title: 'It is good.', expect: { line: 'passed' } };

  test('has its defaults', () => {
    expect(fixtureSchemas.good.parse(good)).toMatchObject({
      handIn: {
        form: 'folder',
        wrap: [],
        device: { style: 'git', crlf: false },
        driver: { style: 'git' },
        extra: [],
      },
      edits: [],
      drop: [],
    });
  });

  test('may give text as lines', () => {
    const edits = [{ file: 'device.c', find: ['a', 'b'], replace: '' }];
    expect(fixtureSchemas.good.parse({ ...good, edits }).edits[0]?.find).toBe('a\nb');
  });

  test.each([
    ['an unknown field', { ...good, expected: {} }],
    ['an unknown outcome', { ...good, expect: { line: 'fine' } }],
    ['a list of one outcome', { ...good, expect: { line: ['failed'] } }],
    ['an unknown style', { ...good, handIn: { device: { style: 'svn' } } }],
    ['a title that is no sentence', { ...good, title: 'good' }],
  ])('is refused with %s', (_, json) => {
    expect(fixtureSchemas.good.safeParse(json).success).toBe(false);
  });

  test('of a bad one says what it breaks', () => {
    expect(fixtureSchemas.bad.safeParse(good).success).toBe(false);
  });
});
