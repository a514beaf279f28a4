import { join } from 'node:path';
import type { GradeReport } from '../../src/grade/grade-report.js';
import type { MadePatch } from '../../src/workfolder/patches.js';
import type { Remark } from '../../src/workfolder/sort-out.js';

/** A grading, and the folder with its reports. */
export interface Graded {
  readonly report: GradeReport;
  readonly folder: string;
}

/** The patches that were made, for a person. */
export function describePatches(
  patches: readonly MadePatch[],
  paths: readonly string[],
  remarks: readonly string[],
): string {
  const texts = patches.map((made, i) => describeOne(made, paths[i] ?? made.name));
  const read = remarks.map((remark) => `  ${remark}\n`).join('');
  return `${texts.join('\n')}${read === '' ? '' : `\nread as a hand-in:\n${read}`}`;
}

function describeOne({ project, source, files, leftOut, warnings }: MadePatch, path: string): string {
  const { version, wanted } = source;
  const standIn =
    version === wanted
      ? ''
      : `  made against ${version}, which stands in for ${wanted}: the name is the exercise's\n`;
  const rows = (remarks: readonly Remark[]) =>
    remarks.slice(0, SHOWN).map(({ path: file, why }) => `    ${project}/${file}: ${why}\n`);
  const more = (count: number) => (count > SHOWN ? [`    and ${count - SHOWN} more\n`] : []);
  return [
    `${path}\n${standIn}`,
    ...files.map(({ path: file, kind }) => `  ${kind.padEnd(8)} ${file}\n`),
    ...(leftOut.length === 0
      ? []
      : [`  left out: ${leftOut.length}\n`, ...rows(leftOut), ...more(leftOut.length)]),
    ...(warnings.length === 0 ? [] : ['  look at:\n', ...rows(warnings), ...more(warnings.length)]),
    '  applies exactly with patch -p1, and gives the work tree\n',
  ].join('');
}

const SHOWN = 10;

/** The marks of the one hand-in that was graded, line by line, with what the student should know. */
export function describeMarks({ report, folder }: Graded): string {
  return report.submissions
    .flatMap(({ lines }) => lines)
    .map(({ title, marks, max, outcome, fact, hint }) => {
      const given = outcome === 'skipped' ? `- of ${max}` : `${marks} of ${max}`;
      const why = [fact, hint].filter((text) => text !== undefined && outcome !== 'skipped');
      return `  ${given.padEnd(8)} ${title}\n${why.map((text) => `           ${text}\n`).join('')}`;
    })
    .join('')
    .concat(`\n${join(folder, 'report.html')}\n`);
}

/** The same for a program. */
export function patchesJson(
  patches: readonly MadePatch[],
  paths: readonly string[],
  remarks: readonly string[],
  graded: Graded | undefined,
): string {
  const made = patches.map(({ project, source, files, leftOut, warnings }, i) => {
    const { version, wanted, digest } = source;
    return { project, path: paths[i], source: { version, wanted, digest }, files, leftOut, warnings };
  });
  const marks = graded === undefined ? {} : { graded: { folder: graded.folder, report: graded.report } };
  return `${JSON.stringify({ patches: made, remarks, ...marks }, null, 2)}\n`;
}
