import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Compilation, compilationOf, diagnosed } from '../build/compile.js';
import type { Contribution } from '../build/contribution.js';
import type { Diagnostic } from '../build/diagnostics.js';
import type { Seed } from '../build/seed.js';
import { readTreeFile } from '../build/tree.js';
import type { BuildContext } from '../build/worktree.js';
import { LabError } from '../errors.js';
import { digestJson, type Json } from '../host/store.js';
import type { FitFile } from '../intake/submission.js';
import { buildLimits } from './limits.js';
import { type JailedRunOptions, runJailed } from './run.js';
import type { Bind, TreeEdits } from './spec.js';
import { makeStage } from './stage.js';

/** The files of a source tree that a submission brings; a path without data is deleted. */
export type SubmittedFiles = ReadonlyMap<string, FitFile>;

/** Content alone: two students who hand in the same are built once. */
export function digestSubmitted(files: SubmittedFiles): Json {
  const entries = [...files].sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.map(([path, { data }]) => [
    path,
    data === undefined ? '' : digestJson(data.toString('base64')),
  ]);
}

export interface SeededBuild {
  /** For messages: `QEMU 10.0.13`. */
  readonly what: string;
  readonly seed: Seed;
  readonly files: SubmittedFiles;
  /** Further files of the tree, made by us, such as the kernel's configuration. */
  readonly settings?: ReadonlyMap<string, Buffer>;
  /** Shell script, run in the build folder. */
  readonly script: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly readOnly?: readonly Bind[];
  readonly extract: NonNullable<JailedRunOptions['extract']>;
  readonly log: string;
  /** Milliseconds. */
  readonly timeout: number;
}

/**
 * Builds a submission in a jail, on an overlay of a seed.
 *
 * @returns the warnings in the submission's files.
 * @throws LabError `build/compile` or `build/failed` blamed on the submission; `run/timeout`, `run/output`;
 *   `sandbox/setup` blamed on the host.
 */
export async function buildOnSeed(build: SeededBuild, { step }: BuildContext): Promise<Diagnostic[]> {
  const { seed, files } = build;
  const aside = await makeStage('edits');
  try {
    const edits = await editsOf(build, aside);
    const jail = {
      overlay: { lower: seed.dir, at: seed.at, edits },
      readOnly: build.readOnly ?? [],
      cwd: join(seed.at, 'build'),
      env: build.env ?? {},
      limits: buildLimits,
    };
    const options = {
      timeout: build.timeout,
      signal: step.signal,
      log: build.log,
      extract: build.extract,
    };
    const warnings = await diagnosed(
      (onLine) => runJailed(jail, ['/bin/sh', '-euc', build.script], { ...options, onLine }),
      compilation(build.what, seed, files),
      (line) => step.output(line),
    );
    return warnings.slice(0, MAX_WARNINGS);
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

/** More of them than anybody reads; a hostile build prints any number. */
export const MAX_WARNINGS = 200;

/** Only what differs from the seed is written: a file that is rewritten counts as changed for every build tool. */
async function editsOf({ seed, files, settings }: SeededBuild, aside: string): Promise<TreeEdits> {
  const remove: string[] = [];
  const put: { from: string; to: string }[] = [];
  const add = async (to: string, data: Buffer, executable: boolean) => {
    const from = join(aside, String(put.length));
    await writeFile(from, data, { mode: executable ? 0o755 : 0o644 });
    put.push({ from, to });
  };
  for (const path of new Set([...seed.contributed, ...files.keys()])) {
    const wanted = files.get(path) ?? (await readTreeFile(seed.pristine, path));
    const present = await readTreeFile(join(seed.dir, 'src'), path);
    if (wanted?.data === undefined) remove.push(join('src', path));
    else if (!present?.data.equals(wanted.data)) await add(join('src', path), wanted.data, wanted.executable);
  }
  for (const [path, data] of settings ?? []) await add(path, data, false);
  return { put, remove };
}

function compilation(what: string, seed: Seed, files: SubmittedFiles): Compilation {
  const contributed = new Map(
    [...files.keys()].map((path): [string, Contribution] => [
      path,
      { kind: 'patch', from: path, blame: 'submission' },
    ]),
  );
  const tree = {
    src: join(seed.at, 'src'),
    build: join(seed.at, 'build'),
    contributed,
    blame: 'submission',
  } as const;
  return compilationOf(what, tree);
}

/** A build that ended otherwise than by itself is the submission's doing: the seed is known to build in seconds. */
export function chargeSubmission(error: unknown): unknown {
  if (!(error instanceof LabError) || !/^(run\/(timeout|output)|build\/failed)$/.test(error.code))
    return error;
  return new LabError({
    code: error.code,
    blame: 'submission',
    fact: FACTS[error.code] ?? error.message,
    evidence: error.evidence,
    log: error.log,
    next: 'build it by hand from a clean source tree and read the last lines of the output',
    cause: error,
  });
}

const FACTS: Readonly<Record<string, string>> = {
  'run/timeout': 'building the submission did not come to an end and was stopped',
  'run/output': 'building the submission printed without end and was stopped',
};
