import { z } from 'zod';
import { LabError } from '../../errors.js';
import type { GradeReport } from '../grade-report.js';
import { gradeReport } from './schema.js';

const MOST_ISSUES = 8;
const WIDTH = 110;

/** `grade-report.json`. */
export function toJson(report: GradeReport): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}

/**
 * Reads a `grade-report.json`. Properties that later versions added are left out.
 *
 * @throws LabError `grade/report-unreadable`, `grade/report-version` or `grade/report-invalid`, blame `user`.
 */
export function parseGradeReport(json: string): GradeReport {
  const value = parseJson(json);
  const version = z.object({ schema: z.string() }).safeParse(value).data?.schema;
  if (version !== undefined && version !== 'lab-grade/1') {
    throw new LabError({
      code: 'grade/report-version',
      blame: 'user',
      fact: 'this is not a grading report that this version of lab can read',
      evidence: [
        'expected: schema "lab-grade/1"',
        `actual:   schema ${JSON.stringify(version.slice(0, 80))}`,
      ],
      next: 'read it with the version of lab that wrote it, or grade again',
    });
  }
  const parsed = gradeReport.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new LabError({
    code: 'grade/report-invalid',
    blame: 'user',
    fact: `the grading report does not fit its schema in ${parsed.error.issues.length} places`,
    evidence: parsed.error.issues.slice(0, MOST_ISSUES).map(describeIssue),
    next: 'use grade-report.json as it was written, without edits, or grade again',
  });
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new LabError({
      code: 'grade/report-unreadable',
      blame: 'user',
      fact: `the grading report is not JSON (${json.length} characters)`,
      evidence: [cause instanceof Error ? cause.message : String(cause)],
      next: 'check that the file is a complete grade-report.json, or grade again',
      cause,
    });
  }
}

function describeIssue({ path, message }: z.core.$ZodIssue): string {
  return `${path.length === 0 ? 'the whole' : path.map(String).join('.')}: ${message}`;
}

/** The JSON Schema of `grade-report.json`, as it is published in `src/grade/grade-report.schema.json`. */
export function jsonSchema(): string {
  const schema = z.toJSONSchema(gradeReport, { io: 'input', reused: 'inline' });
  const described = { title: 'Report of a grading (lab-grade/1)', ...schema };
  return `${joinShortLists(JSON.stringify(described, null, 2))}\n`;
}

/** Lists of plain values stand on one line where they fit, as the repository's formatter has them. */
function joinShortLists(json: string): string {
  return json.replace(/^(.*)\[\n([^[\]{}]*?)\n\s*\](,?)$/gm, (whole, head, body, comma) => {
    const joined = `${head}[${body.trim().replace(/\n\s*/g, ' ')}]${comma}`;
    return joined.length <= WIDTH ? joined : whole;
  });
}
