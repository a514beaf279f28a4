import { writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { type Assembled, assemble } from './assemble.js';
import { type Collected, collect } from './collect.js';
import { type Reading, readGuarded, type Surroundings } from './guarded.js';
import { idOf } from './names.js';
import { problem } from './problems.js';
import { recognise, type Sorted } from './recognise.js';
import type { IntakeRules } from './rules.js';
import type { IntakeProblem, Submission } from './submission.js';
import { TreeFilter } from './tree-filter.js';
import type { Trees } from './trees.js';
import { handIns, severalProblem } from './two-hand-ins.js';

/** `into` gets normalised patches and loose files. */
export interface TakeInOptions extends Reading {
  readonly trees: Trees;
  readonly lab: IntakeRules;
}

/**
 * Reads a hand-in as it arrived: a folder, a zip or tar archive, a patch, a source. Nothing of it is executed, and
 * nothing is written but texts that were understood, under names of ours.
 *
 * Whatever is wrong with it becomes one of its `problems`.
 *
 * @throws LabError `intake/no-input` when there is nothing at `path`; `interrupted`; faults of the host.
 */
export async function takeIn(path: string, options: TakeInOptions): Promise<Submission> {
  return await readGuarded(path, options, (surroundings) => read(path, surroundings, options));
}

async function read(
  path: string,
  { kind, scratch, signal }: Surroundings,
  options: TakeInOptions,
): Promise<Submission> {
  const { trees, lab, into } = options;
  const filter = new TreeFilter(trees, lab);
  const collected = await collect(path, kind, {
    scratch,
    isTreeFile: (name) => filter.isTreeFile(name),
    signal,
  });
  const against = { trees, rules: lab };
  const own = collected.files.filter(({ name, data }) => !filter.isStray(name, data.toString('latin1')));
  const sorted = recognise(own, against);
  const several = handIns([...sorted.patches, ...sorted.sources.qemu, ...sorted.sources.linux]);
  const assembled: Assembled =
    several.length > 1
      ? nothingOf(several)
      : await assemble(sorted, against, { ...options, scratch, signal });
  const submission = submissionOf(path, collected, sorted, assembled);
  const record = { input: path, digest: collected.digest, files: collected.listing };
  await writeFile(join(into, 'input.json'), `${JSON.stringify(record, undefined, 2)}\n`);
  return submission;
}

function nothingOf(folders: readonly string[]): Assembled {
  return {
    parts: {},
    changes: [],
    problems: [severalProblem(folders)],
  };
}

function submissionOf(path: string, collected: Collected, sorted: Sorted, assembled: Assembled): Submission {
  const { parts, module, application, changes } = assembled;
  const problems = [...collected.problems, ...sorted.problems, ...assembled.problems];
  const empty = parts.qemu === undefined && parts.linux === undefined && module === undefined;
  if (empty && problems.length === 0) problems.push(nothingUsable(collected, sorted));
  const report = reportOf(sorted);
  return {
    id: idOf(basename(resolve(path))),
    input: path,
    digest: collected.digest,
    parts,
    changes: [...collected.changes, ...changes],
    problems,
    ...(collected.newest === undefined ? {} : { handedIn: collected.newest }),
    ...(module === undefined ? {} : { module }),
    ...(application === undefined ? {} : { application }),
    ...(report === undefined ? {} : { report }),
  };
}

function reportOf({ reports }: Sorted): string | undefined {
  return reports.find((name) => /report|bericht/i.test(basename(name))) ?? reports[0];
}

function nothingUsable({ files }: Collected, { others, reports }: Sorted): IntakeProblem {
  const next =
    'hand in one patch against QEMU and one against Linux, made with `git diff` or `diff -urN vanilla work`';
  if (files.length === 0) return problem('the hand-in holds no file that could be graded', next);
  const evidence = [...reports, ...others].slice(0, 10);
  return problem('there is neither a patch nor a source of the exercise in the hand-in', next, { evidence });
}
