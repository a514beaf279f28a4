import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toCsv } from '../../src/grade/render/csv.js';
import { toGradeJUnit } from '../../src/grade/render/junit.js';
import { summaryTable } from '../../src/grade/render/summary-table.js';
import { visible } from '../../src/grade/render/text.js';
import { classOf, fixture, fixtureNames, poisoned } from '../support/grade-reports.js';

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]/;

/** Any characters, with those that mean something to a renderer much more often than by chance. */
const hostile = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 5 }),
      fc.constantFrom('<', '>', '&', '"', "'", '`', '```', '|', '\n', '\r\n', '\t', '=', ',', ';', ']]>'),
      fc.constantFrom('\x1b[31m', '\x1b]0;', '\0', '\u202e', '\ud800', '# ', '--', '](', '://', '\\'),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(''));

describe('visible', () => {
  test.each([
    ['\x1b[1;31mred\x1b[0m', 'red'],
    ['\x1b]0;title\x07', '^[]0;title^G'],
    ['a\r\nb\rc', 'a\nb^Mc'],
    ['\u202eabc\ufeff', '<U+202E>abc<U+FEFF>'],
    ['tab\tand\nline', 'tab\tand\nline'],
  ])('%j → %j', (text, expected) => {
    expect(visible(text)).toBe(expected);
  });

  test('leaves nothing that acts on a terminal or hides text', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        expect(visible(text)).not.toMatch(CONTROL);
      }),
    );
  });
});

describe('JUnit', () => {
  test('counts what each suite lost, by kind', () => {
    const xml = toGradeJUnit({ ...fixture('bad'), started: '2026-03-02T09:15:00.000Z' });
    expect(xml).toContain('<testsuite name="charles-babbage" tests="8" failures="5" errors="0" skipped="2"');
    expect(xml).toContain(
      '<testcase classname="my-rng.charles-babbage" name="device-registers" time="0.082"',
    );
    expect(xml).toContain('type="failed" message="failed: seeds 0x42 and 0x142 give the same sequence"');
    expect(xml).toContain('actual:   seed 0x142 → 286129175');
  });

  test('charges a host fault to nobody', () => {
    const xml = toGradeJUnit(fixture('canary-failed'));
    expect(xml).toContain('tests="8" failures="0" errors="2" skipped="2"');
    expect(xml).toContain('<error type="host" message="error: QEMU could not start: no space left');
    expect(xml.match(/<skipped /g)).toHaveLength(2);
  });

  test('holds any text without breaking the markup', () => {
    const shape = (text: string) => toGradeJUnit(poisoned(text)).replace(/"[^"<]*"|>[^<]*</g, '');
    const expected = shape('harmless');
    fc.assert(
      fc.property(hostile, (text) => {
        expect(shape(text)).toBe(expected);
        expect(toGradeJUnit(poisoned(text))).not.toMatch(CONTROL);
      }),
      { numRuns: 50 },
    );
  });
});

describe('CSV', () => {
  test('has a record per submission and a column per line', () => {
    const [head, ...rows] = parseCsv(toCsv(fixture('bad')));
    expect(head?.slice(0, 9).join(',')).toBe(
      'id,outcome,got,max,open,late factor,final,device-patch-applies,device-repeat-seed',
    );
    expect(rows.map(([id, outcome, got]) => [id, outcome, got])).toEqual([
      ['charles-babbage', 'failed', '2'],
      ['tommy-flowers', 'timed-out', '9'],
    ]);
    expect(rows[0]?.slice(-4)).toEqual(['', '', 'submission', 'seeds 0x42 and 0x142 give the same sequence']);
  });

  test('has the marks after the penalty, and none where the host failed', () => {
    const [, late] = parseCsv(toCsv(fixture('late')));
    expect(late?.slice(0, 7)).toEqual(['alan-turing', 'passed', '12', '20', '8', '0.8', '9.6']);
    const [, error] = parseCsv(toCsv(fixture('canary-failed')));
    expect(error?.slice(7, 15)).toEqual(['1', '3', '2', '1', '', '', '', '']);
  });

  test('keeps its shape and runs no formula, whatever the text', () => {
    const columns = parseCsv(toCsv(poisoned('x')))[0]?.length;
    const formula = fc.tuple(fc.constantFrom('=', '+', '-', '@', '\t=', ' @', '\r=', '＝', ''), hostile);
    fc.assert(
      fc.property(formula, ([start, text]) => {
        const rows = parseCsv(toCsv(poisoned(start + text)));
        expect(rows).toHaveLength(2);
        for (const row of rows) {
          expect(row).toHaveLength(columns ?? 0);
          expect(row.filter((cell) => /^[=+\-@\t\r＝]/.test(cell))).toEqual([]);
        }
      }),
    );
  });
});

describe('the summary table', () => {
  test('shows who needs attention', () => {
    const text = summaryTable(fixture('bad')).join('\n');
    expect(text).toContain('charles-babbage  2/20   +FFF--??  failed     seeds 0x42 and 0x142');
    expect(text).toContain('tommy-flowers    9/20   ++++T+??  timed out  ioctl 0x80047101 did not return');
    expect(text).toContain('T timed out');
  });

  test.each([
    ['no-sandbox', /^! Graded without a sandbox/],
    ['canary-failed', /^! The reference solution did not pass at the end/],
  ])('says first what makes it doubtful: %s', (name, expected) => {
    expect(summaryTable(fixture(name))[0]).toMatch(expected);
  });

  test.each(fixtureNames)('is at most 110 wide: %s', (name) => {
    for (const line of summaryTable(fixture(name))) expect(line.length).toBeLessThanOrEqual(110);
  });

  test('holds hundreds of submissions and any text', () => {
    expect(summaryTable(classOf(300)).length).toBeGreaterThan(301);
    fc.assert(
      fc.property(hostile, (text) => {
        for (const line of summaryTable(poisoned(text))) {
          expect([...line].length).toBeLessThanOrEqual(110);
          expect(line).not.toMatch(CONTROL);
          expect(line).not.toMatch(/[\t\n]/);
        }
      }),
    );
  });

  test('a grading of nothing is no error', () => {
    expect(summaryTable({ ...fixture('good'), submissions: [] })).toHaveLength(1);
  });
});

/** A reader of RFC 4180, strict: a quote within a bare field, or a lone line feed, is an error. */
function parseCsv(text: string): string[][] {
  const field = /("(?:[^"]|"")*"|[^",\r\n]*)(,|\r\n|$)/y;
  const rows: string[][] = [[]];
  while (field.lastIndex < text.length) {
    const match = field.exec(text);
    if (match === null) throw new Error('not RFC 4180');
    const [, raw = '', end] = match;
    rows.at(-1)?.push(raw.startsWith('"') ? raw.slice(1, -1).replaceAll('""', '"') : raw);
    if (end === '\r\n') rows.push([]);
  }
  return rows.slice(0, -1);
}
