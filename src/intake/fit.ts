import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Timeouts } from '../timeouts.js';
import { applySection, type SectionFit } from './apply.js';
import { gitView } from './git-view.js';
import { type Section, writeHunk } from './patch.js';
import { sectionsIn } from './patch-read.js';
import type { Fit, FitFile, Part, PartFile } from './submission.js';
import { readable } from './text.js';

export interface FitOptions {
  readonly signal: AbortSignal;
  readonly timeouts: Timeouts;
}

type Kind = Fit['kind'];

const GRAVITY: readonly Kind[] = ['clean', 'offset', 'whitespace', 'fuzz', 'rejected'];

/**
 * How a part fits the pristine tree, by GNU patch, with git's view of it besides. Only copies of the files that it
 * names are touched. Hunks are tried exactly, then with other blanks, then with less context; the first way that
 * takes all hunks of a file counts for that file. Of a patch for another release, which no student can help, added
 * lines are placed by a single line of context before a hunk counts as rejected; that is `fuzz` too.
 *
 * `clean`, `offset` and `whitespace` are no fault of the student; `fuzz` is none either when the tree is of another
 * version than the one the exercise names.
 *
 * A damaged patch counts as rejected, as every tool rejects it; `files` then has what could be read of it.
 *
 * @throws LabError `run/missing`, `run/timeout` when patch or git cannot be run; `interrupted`.
 */
export async function fit(part: Part, pristineTree: string, { signal, timeouts }: FitOptions): Promise<Fit> {
  const sections = sectionsIn(await readFile(part.patch, 'latin1'));
  const scratch = await mkdtemp(join(tmpdir(), 'lab-fit-'));
  try {
    const { otherRelease } = part;
    const context = { dir: join(scratch, 'tree'), signal, timeout: timeouts.hostTool, otherRelease };
    await mkdir(context.dir);
    const pristine = await readFiles(pristineTree, sections);
    const files = new Map(pristine);
    const fits: SectionFit[] = [];
    for (const section of sections) {
      const fitted = await applySection(section, files.get(section.path), context);
      files.set(section.path, fitted.file);
      fits.push(fitted);
    }
    const git = await gitView(part.patch, pristine, { ...context, dir: join(scratch, 'git') });
    return summary(part, sections, fits, { files, git });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

type Files = Map<string, FitFile>;

async function readFiles(tree: string, sections: readonly Section[]): Promise<Files> {
  const files: Files = new Map();
  for (const { path } of sections) {
    const data = await readFile(join(tree, path)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
      throw error;
    });
    files.set(path, { data, executable: false });
  }
  return files;
}

function summary(
  part: Part,
  sections: readonly Section[],
  fits: readonly SectionFit[],
  { files, git }: { readonly files: Files; readonly git: readonly string[] },
): Fit {
  const damage = part.damage ?? [];
  const kind = fits.reduce<Kind>(
    (gravest, fitted) => (GRAVITY.indexOf(fitted.kind) > GRAVITY.indexOf(gravest) ? fitted.kind : gravest),
    damage.length > 0 ? 'rejected' : 'clean',
  );
  const why = reasonOf(fits);
  return {
    kind,
    sentence: sentenceOf(kind, why, part, fits),
    ...(why === undefined ? {} : { why }),
    details: [...damage, ...fits.flatMap(({ details }) => details), ...git],
    rejects: rejectsOf(part, sections, fits),
    files: new Map([...files].filter(([, file]) => file.data !== undefined || hadFile(part, file, files))),
  };
}

/** A path without data means that the tree loses it; a file that neither was nor is there is no change. */
function hadFile(part: Part, file: FitFile, files: Files): boolean {
  const path = [...files].find(([, value]) => value === file)?.[0];
  return part.files.some((known: PartFile) => known.path === path && known.kind === 'deleted');
}

function reasonOf(fits: readonly SectionFit[]): Fit['why'] {
  const rejected = fits.filter(({ kind }) => kind === 'rejected');
  if (rejected.length === 0) return undefined;
  if (rejected.every(({ why }) => why === 'applied-already')) return 'applied-already';
  return rejected.some(({ why }) => why === 'other-version') ? 'other-version' : undefined;
}

function rejectsOf(part: Part, sections: readonly Section[], fits: readonly SectionFit[]): Fit['rejects'] {
  const rejects: { path: string; line: number; hunk: string }[] = [];
  let before = 0;
  for (const [i, { path, hunks }] of sections.entries()) {
    for (const index of fits[i]?.rejected ?? []) {
      const hunk = hunks[index];
      if (hunk === undefined) continue;
      const line = part.places?.[before + index]?.line ?? hunk.line;
      rejects.push({ path, line, hunk: readable(writeHunk(hunk)) });
    }
    before += hunks.length;
  }
  return rejects;
}

function sentenceOf(kind: Kind, why: Fit['why'], part: Part, fits: readonly SectionFit[]): string {
  const patch = part.wasPatch ? `the patch ${part.origin}` : `the change made of ${part.origin}`;
  const hunks = fits.reduce((sum, { hunks: count }) => sum + count, 0);
  const failed = fits.reduce((sum, { rejected }) => sum + rejected.length, 0);
  const files = fits.filter(({ rejected }) => rejected.length > 0).map(({ path }) => path);
  const where = [...new Set(files)].join(', ');
  if (part.damage !== undefined)
    return `${patch} is damaged, so that no tool applies it as it was handed in: ${part.damage[0] ?? ''}`;
  if (kind === 'clean') return `${patch} applies exactly`;
  if (kind === 'offset') return `${patch} applies, at other line numbers`;
  if (kind === 'whitespace') return `${patch} applies when blanks are not compared`;
  if (kind === 'fuzz') return `${patch} applies only with less context than it has (fuzz)`;
  if (why === 'applied-already')
    return `${patch} does not apply: what it changes in ${where} is in the vanilla tree already, or it was made in the wrong direction`;
  if (why === 'other-version')
    return `${patch} does not apply: it was made for another version of the source, or against a tree that was changed already; ${where} has no such lines`;
  return `${patch} does not apply: ${failed} of ${hunks} hunks were rejected, in ${where}`;
}
