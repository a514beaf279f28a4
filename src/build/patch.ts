import { lstat, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { type Blame, LabError } from '../errors.js';
import { run } from '../host/run.js';
import type { PatchContribution, TreeFile } from './contribution.js';

type Blamed = PatchContribution & { readonly blame?: Blame };

export interface PatchOptions {
  readonly signal: AbortSignal;
  /** Milliseconds for one run of git or patch. */
  readonly timeout: number;
}

/**
 * What a patch makes of the files it names, which `read` supplies. Line offsets and differing blanks in context
 * lines are tolerated; changed context is not.
 *
 * @throws LabError `build/patch`; its evidence names the failing file and hunk, and what a looser fit would do.
 */
export async function applyPatch(
  patch: Blamed,
  read: (path: string) => Promise<TreeFile | undefined>,
  options: PatchOptions,
): Promise<Map<string, TreeFile | undefined>> {
  const scratch = await mkdtemp(join(tmpdir(), 'lab-patch-'));
  try {
    const text = await readPatch(patch);
    const strip = patch.strip ?? 1;
    const names = namesIn(text, strip);
    const before = new Set<string>();
    for (const name of names) {
      const file = await read(name);
      if (file === undefined) continue;
      await mkdir(dirname(join(scratch, name)), { recursive: true });
      await writeFile(join(scratch, name), file.data, { mode: file.executable ? 0o755 : 0o644 });
      before.add(name);
    }
    await gitApply(patch, text, scratch, options);
    return await differences(scratch, before, patch);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function readPatch(patch: Blamed): Promise<string> {
  try {
    return await readFile(patch.from, 'latin1');
  } catch (cause) {
    throw patchError(patch, `the patch ${patch.from} cannot be read`, [String(cause)], cause);
  }
}

/** Names in the headers of a patch; a deleted line that looks like a header only adds a name nobody has. */
export function namesIn(text: string, strip: number): string[] {
  const names = new Set<string>();
  for (const [, head, rest] of text.matchAll(/^(--- |\+\+\+ |(?:rename|copy) (?:from|to) )([^\t\r\n]+)/gm)) {
    const parts = (rest ?? '').split('/');
    const name = head?.startsWith('r') || head?.startsWith('c') ? rest : parts.slice(strip).join('/');
    if (name !== undefined && name !== '' && isPlain(name)) names.add(name);
  }
  return [...names];
}

function isPlain(name: string): boolean {
  return !name.startsWith('/') && !name.split('/').includes('..');
}

async function gitApply(patch: Blamed, text: string, scratch: string, options: PatchOptions): Promise<void> {
  const args = ['apply', '-v', `-p${patch.strip ?? 1}`, '--ignore-whitespace', '--whitespace=nowarn', '-'];
  const result = await run('git', args, {
    cwd: scratch,
    // a repository around the temporary folder would make git skip files outside of it
    env: {
      GIT_CEILING_DIRECTORIES: dirname(scratch),
      GIT_DIR: undefined,
      GIT_WORK_TREE: undefined,
      LC_ALL: 'C',
    },
    input: Buffer.from(text, 'latin1'),
    accept: [0, 1, 128],
    ...options,
  });
  if (result.exitCode === 0) return;
  const evidence = result.stderr
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('Checking patch'))
    .slice(0, 30);
  throw patchError(patch, `the patch ${patch.from} does not apply`, [
    ...evidence,
    ...(await loose(patch, text, scratch, options)),
  ]);
}

/** What patch(1), which also tries with less context, says about it. */
async function loose(
  patch: PatchContribution,
  text: string,
  scratch: string,
  options: PatchOptions,
): Promise<string[]> {
  const args = ['--dry-run', '--batch', '--forward', `-p${patch.strip ?? 1}`];
  const result = await run('patch', args, {
    cwd: scratch,
    input: Buffer.from(text, 'latin1'),
    accept: [0, 1, 2],
    ...options,
  });
  return result.stdout
    .split('\n')
    .filter((line) => /hunk|fuzz|Reversed|can't find|malformed/i.test(line))
    .map((line) => `patch(1): ${line}`)
    .slice(0, 10);
}

function patchError(patch: Blamed, fact: string, evidence: readonly string[], cause?: unknown): LabError {
  return new LabError({
    code: 'build/patch',
    blame: patch.blame ?? 'user',
    fact,
    evidence,
    next: 'make the patch again against the version of the source that is used here',
    cause,
  });
}

async function differences(
  scratch: string,
  before: ReadonlySet<string>,
  patch: Blamed,
): Promise<Map<string, TreeFile | undefined>> {
  const changes = new Map<string, TreeFile | undefined>([...before].map((name) => [name, undefined]));
  for (const entry of await readdir(scratch, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory()) continue;
    const path = join(entry.parentPath, entry.name);
    const name = relative(scratch, path);
    if (!entry.isFile())
      throw patchError(patch, `the patch ${patch.from} makes ${name}, which is no regular file`, []);
    const { mode } = await lstat(path);
    changes.set(name, { data: await readFile(path), executable: (mode & 0o100) !== 0 });
  }
  return changes;
}
