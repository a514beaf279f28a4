import { cp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { LabError } from '../errors.js';
import { digestFile } from '../host/store.js';
import type { LooseFile, LooseModule, Part, Submission } from '../intake/submission.js';
import type { GradedSubmission } from './grade-report.js';
import type { Bench, Grading, HandIn } from './grading.js';

/** `run.json`: what is needed to judge the same submission again with the same seeds. */
export interface SavedRun {
  readonly schema: 'lab-grade-run/1';
  readonly lab: string;
  readonly id: string;
  readonly input: string;
  /** Digest of everything on our side that decides a verdict. */
  readonly bench: string;
  readonly nonce: string;
  /** Its paths are relative to the folder. */
  readonly submission: Submission;
}

/** A saved run with absolute paths, and the folder that it was read from. */
export interface LoadedRun extends SavedRun {
  readonly dir: string;
}

/** Writes `run.json` before anything is judged. */
export async function saveRun(
  dir: string,
  run: {
    readonly grading: Grading;
    readonly bench: Bench;
    readonly handIn: HandIn;
    readonly submission: Submission;
    readonly nonce: Buffer;
  },
): Promise<void> {
  const saved: SavedRun = {
    schema: 'lab-grade-run/1',
    lab: run.grading.lab.name,
    id: run.handIn.id,
    input: run.handIn.path,
    bench: run.bench.digest,
    nonce: run.nonce.toString('hex'),
    submission: withPaths(run.submission, (path) => relative(dir, path)),
  };
  await writeFile(join(dir, 'run.json'), `${JSON.stringify(saved, null, 2)}\n`);
}

/**
 * Reads the `run.json` of an evidence folder, after checking that nothing in the folder was altered.
 *
 * @throws LabError `replay/not-evidence`, `replay/altered`.
 */
export async function loadRun(dir: string): Promise<LoadedRun> {
  const text = await readFile(join(dir, 'run.json'), 'utf8').catch(() => undefined);
  if (text === undefined) throw notEvidence(dir);
  const altered = await alteredFiles(dir);
  if (altered.length > 0) throw wasAltered(dir, altered);
  const saved = JSON.parse(text) as SavedRun;
  const submission = withPaths(revived(saved.submission), (path) => resolve(dir, path));
  return { ...saved, submission, dir: resolve(dir) };
}

function revived(submission: Submission): Submission {
  const { handedIn } = submission;
  return handedIn === undefined ? submission : { ...submission, handedIn: new Date(handedIn) };
}

function withPaths(submission: Submission, map: (path: string) => string): Submission {
  const part = (p: Part): Part => ({ ...p, patch: map(p.patch) });
  const loose = (m: LooseModule): LooseModule => ({ ...m, dir: map(m.dir) });
  const file = (f: LooseFile): LooseFile => ({ ...f, path: map(f.path) });
  const { parts, module, modules, application } = submission;
  return {
    ...submission,
    parts: {
      ...(parts.qemu === undefined ? {} : { qemu: part(parts.qemu) }),
      ...(parts.linux === undefined ? {} : { linux: part(parts.linux) }),
    },
    ...(module === undefined ? {} : { module: loose(module) }),
    ...(modules === undefined ? {} : { modules: mapValues(modules, loose) }),
    ...(application === undefined ? {} : { application: file(application) }),
  };
}

function mapValues<T>(record: Readonly<Record<string, T>>, map: (value: T) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}

/** The submission of a saved run with a copy of its files in `dir`, so that the new folder can be replayed as well. */
export async function copySubmission(run: LoadedRun, dir: string): Promise<Submission> {
  await cp(join(run.dir, 'hand-in'), join(dir, 'hand-in'), { recursive: true });
  return withPaths(run.submission, (path) => join(dir, relative(run.dir, path)));
}

interface Graded {
  readonly bench: string;
  readonly graded: GradedSubmission;
}

/** Keeps the verdict, removes what is large and worth nothing, and lists the sha256 of all that stays. */
export async function finishEvidence(dir: string, graded: GradedSubmission, bench: string): Promise<void> {
  const kept: Graded = { bench, graded };
  await writeFile(join(dir, 'graded.json'), `${JSON.stringify(kept, null, 2)}\n`);
  for (const name of await filesIn(dir)) if (isBulk(name)) await rm(join(dir, name), { force: true });
  const digests = await digestsOf(dir);
  await writeFile(join(dir, MANIFEST), `${JSON.stringify(digests, null, 1)}\n`);
}

const MANIFEST = 'manifest.json';

function isBulk(name: string): boolean {
  return /(^|\/)(disk\.qcow2|program|host_key)$/.test(name);
}

/** The verdict that an evidence folder holds; `loadRun` has checked it. */
export async function loadVerdict(dir: string): Promise<GradedSubmission> {
  return (JSON.parse(await readFile(join(dir, 'graded.json'), 'utf8')) as Graded).graded;
}

/** The verdict of an earlier, interrupted grading of the same hand-in with the same tools; not one of `error`. */
export async function loadGraded(
  dir: string,
  digest: string,
  bench: string,
): Promise<GradedSubmission | undefined> {
  const text = await readFile(join(dir, 'graded.json'), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const kept = JSON.parse(text) as Graded;
  if (kept.bench !== bench || kept.graded.digest !== digest || kept.graded.outcome === 'error')
    return undefined;
  return (await alteredFiles(dir)).length === 0 ? kept.graded : undefined;
}

async function alteredFiles(dir: string): Promise<string[]> {
  const text = await readFile(join(dir, MANIFEST), 'utf8').catch(() => undefined);
  if (text === undefined) return [`${MANIFEST} is missing`];
  const expected = JSON.parse(text) as Record<string, string>;
  const actual = await digestsOf(dir);
  const names = Object.keys(expected);
  return names.filter((name) => actual[name] !== expected[name]);
}

async function digestsOf(dir: string): Promise<Record<string, string>> {
  const names = (await filesIn(dir))
    .filter((name) => name !== MANIFEST && !name.startsWith('report.'))
    .sort();
  const pairs = await Promise.all(
    names.map(async (name) => [name, await digestFile(join(dir, name))] as const),
  );
  return Object.fromEntries(pairs);
}

async function filesIn(dir: string): Promise<string[]> {
  const names = await readdir(dir, { recursive: true });
  const isFile = await Promise.all(
    names.map((name) =>
      stat(join(dir, name)).then(
        (info) => info.isFile(),
        () => false,
      ),
    ),
  );
  return names.filter((_, i) => isFile[i]);
}

function notEvidence(dir: string): LabError {
  return new LabError({
    code: 'replay/not-evidence',
    blame: 'user',
    fact: `${dir} is not the evidence folder of a graded submission`,
    evidence: ['it holds no run.json'],
    next: 'name a folder such as .lab/gradings/<n>/<submission>',
  });
}

function wasAltered(dir: string, altered: readonly string[]): LabError {
  return new LabError({
    code: 'replay/altered',
    blame: 'user',
    fact: `files of the evidence folder ${dir} were altered after the grading`,
    evidence: altered.slice(0, 10),
    next: 'grade the hand-in again from where it was handed in',
  });
}
