import { join } from 'node:path';
import { describe, expect, expectTypeOf, test } from 'vitest';
import type { z } from 'zod';
import { LabError } from '../../src/errors.js';
import type { GradeReport } from '../../src/grade/grade-report.js';
import { jsonSchema, parseGradeReport, toJson } from '../../src/grade/render/json-schema.js';
import type { gradeReport } from '../../src/grade/render/schema.js';
import { fixture, fixtureNames, only } from '../support/grade-reports.js';

describe('the schema', () => {
  test('describes the same as the types', () => {
    expectTypeOf<z.infer<typeof gradeReport>>().toEqualTypeOf<GradeReport>();
    expectTypeOf<GradeReport>().toEqualTypeOf<z.infer<typeof gradeReport>>();
  });

  test('is the published file (`vitest -u` writes it)', async () => {
    await expect(jsonSchema()).toMatchFileSnapshot(
      join(import.meta.dirname, '../../src/grade/grade-report.schema.json'),
    );
  });

  test('promises what machines read', () => {
    const schema = JSON.parse(jsonSchema());
    expect(schema.required).toEqual(
      expect.arrayContaining(['schema', 'lab', 'host', 'sources', 'submissions']),
    );
    const submission = schema.properties.submissions.items;
    expect(submission.required).toEqual(
      expect.arrayContaining(['id', 'outcome', 'marks', 'lines', 'timings']),
    );
    const line = submission.properties.lines.items;
    expect(line.required).toEqual(
      expect.arrayContaining(['id', 'title', 'outcome', 'marks', 'max', 'evidence']),
    );
    expect(line.required).not.toContain('blame');
  });
});

describe('parseGradeReport', () => {
  test.each(fixtureNames)('reads back what was written: %s', (name) => {
    const report = fixture(name);
    expect(parseGradeReport(toJson(report))).toEqual(report);
  });

  test('leaves out what a later version added', () => {
    const report = fixture('good');
    expect(parseGradeReport(JSON.stringify({ ...report, added: 1 }))).toEqual(report);
  });

  test('the fixtures use every field', () => {
    const used = new Set(fixtureNames.flatMap((name) => keysOf(fixture(name))));
    const known = [...jsonSchema().matchAll(/"(\w+)": \{/g)].map(([, key = '']) => key);
    const words = new Set(['properties', 'items', 'propertyNames', 'additionalProperties']);
    expect(known.filter((key) => !words.has(key) && !used.has(key))).toEqual([]);
  });

  test.each([
    ['', 'grade/report-unreadable'],
    ['{"schema":"lab-grade/1"', 'grade/report-unreadable'],
    ['{"schema":"lab-grade/2"}', 'grade/report-version'],
    ['{"schema":"lab-test/1"}', 'grade/report-version'],
    ['[]', 'grade/report-invalid'],
    ['null', 'grade/report-invalid'],
    ['{"schema":"lab-grade/1"}', 'grade/report-invalid'],
  ])('refuses %j with %s', (json, code) => {
    expect(errorOf(json)).toMatchObject({ code, blame: 'user' });
  });

  test('names the place that is wrong', () => {
    const report = fixture('good');
    const wrong = { ...report, submissions: [{ ...only(report), outcome: 'excellent' }] };
    expect(errorOf(JSON.stringify(wrong)).evidence.join()).toContain('submissions.0.outcome: ');
  });
});

function errorOf(json: string): LabError {
  try {
    parseGradeReport(json);
  } catch (error) {
    if (error instanceof LabError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

function keysOf(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  const own = Array.isArray(value) ? [] : Object.keys(value);
  return [...own, ...Object.values(value).flatMap(keysOf)];
}
