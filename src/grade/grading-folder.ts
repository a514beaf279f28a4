import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError } from '../errors.js';
import type { GradeReport } from './grade-report.js';
import { toCsv } from './render/csv.js';
import { toHtml } from './render/html.js';
import { toJson } from './render/json-schema.js';
import { toGradeJUnit } from './render/junit.js';
import { toStudentMarkdown } from './render/markdown.js';
import { gradingsRoot } from './run-folder.js';

/** `grading.json`: how a grading was asked for, so that it can be resumed and its parts repeated. */
export interface SavedGrading {
  readonly schema: 'lab-grading/1';
  readonly lab: string;
  /** The flags that choose sources and guest, as they were given. */
  readonly flags: unknown;
  readonly started: string;
  readonly complete: boolean;
}

/** The name of the file in a grading's folder with each form of the report. */
export const reportFiles = {
  json: 'report.json',
  html: 'report.html',
  junit: 'junit.xml',
  csv: 'marks.csv',
} as const;

/** Writes the report of a grading in all its forms, and each student's feedback beside the evidence. */
export async function writeReports(folder: string, report: GradeReport): Promise<void> {
  await writeFile(join(folder, reportFiles.json), toJson(report));
  await writeFile(join(folder, reportFiles.html), toHtml(report));
  await writeFile(join(folder, reportFiles.junit), toGradeJUnit(report));
  await writeFile(join(folder, reportFiles.csv), toCsv(report));
  for (const submission of report.submissions) {
    const dir = join(folder, submission.folder);
    await mkdir(dir, { recursive: true });
    await writeFile(join(dir, 'report.md'), toStudentMarkdown(report, submission));
  }
}

export async function saveGrading(folder: string, saved: Omit<SavedGrading, 'schema'>): Promise<void> {
  const text = JSON.stringify({ schema: 'lab-grading/1', ...saved } satisfies SavedGrading, null, 2);
  await writeFile(join(folder, 'grading.json'), `${text}\n`);
}

/**
 * How the grading in `folder` was asked for.
 *
 * @throws LabError `grade/not-a-grading`.
 */
export async function loadGrading(folder: string): Promise<SavedGrading> {
  const text = await readFile(join(folder, 'grading.json'), 'utf8').catch(() => undefined);
  if (text !== undefined) return JSON.parse(text) as SavedGrading;
  throw new LabError({
    code: 'grade/not-a-grading',
    blame: 'user',
    fact: `${folder} is not the folder of a grading`,
    evidence: ['it holds no grading.json'],
    next: 'name a folder such as .lab/gradings/<n>',
  });
}

/** The newest grading's folder; `undefined` before the first one. */
export async function lastGrading(): Promise<string | undefined> {
  return (await gradingFolders())[0];
}

/** Newest first. */
async function gradingFolders(): Promise<string[]> {
  const names = await readdir(gradingsRoot()).catch(() => []);
  const numbers = names.map(Number).filter(Number.isInteger);
  return numbers.sort((a, b) => b - a).map((number) => join(gradingsRoot(), String(number)));
}

/** The newest grading of this lab, if it did not come to its end. */
export async function unfinishedGrading(lab: string): Promise<string | undefined> {
  for (const folder of await gradingFolders()) {
    const saved = await loadGrading(folder).catch(() => undefined);
    if (saved?.lab === lab) return saved.complete ? undefined : folder;
  }
  return undefined;
}
