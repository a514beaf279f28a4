import { execFileSync } from 'node:child_process';
import { mkdir, readFile, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { buildFileChanges } from '../../src/intake/build-files.js';
import { fit } from '../../src/intake/fit.js';
import type { Fit, Project, Submission } from '../../src/intake/submission.js';
import { takeIn } from '../../src/intake/take-in.js';
import type { Trees } from '../../src/intake/trees.js';
import { intakeRules } from '../../src/labs/my-rng/grading/intake-rules.js';
import { scaled } from '../../src/timeouts.js';
import {
  applicationSource,
  deviceSource,
  driverSource,
  linuxFiles,
  linuxWork,
  makeTrees,
  qemuFiles,
  qemuWork,
  writeAll,
} from '../support/intake-trees.js';
import { useTempFolder } from '../support/temp.js';

const folder = useTempFolder();
const signal = new AbortController().signal;
const timeouts = scaled(1);
let trees: Trees;
let patches: Record<Project, string>;
let count = 0;

beforeAll(async () => {
  trees = await makeTrees(join(folder.path, 'pristine'));
  patches = { qemu: await gitDiff('qemu', qemuWork), linux: await gitDiff('linux', linuxWork) };
});

async function fresh(name: string): Promise<string> {
  count += 1;
  const dir = join(folder.path, `${count}`, name);
  await mkdir(dir, { recursive: true });
  return dir;
}

/** `diff -urN` between the pristine tree and one with `work` in it, at paths of differing depth. */
async function diffTrees(project: Project, work: Readonly<Record<string, string>>): Promise<string> {
  const base = await fresh('home');
  const version = project === 'qemu' ? 'qemu-8.2.0-rc2' : 'linux-6.6.4';
  const [vanilla, own] = [join(base, version), join(base, 'uni/os', project)];
  const files = project === 'qemu' ? qemuFiles : linuxFiles;
  await writeAll(vanilla, files);
  await writeAll(own, { ...files, ...work });
  try {
    return execFileSync('diff', ['-urN', vanilla, own], { encoding: 'latin1' });
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}

async function repository(project: Project, work: Readonly<Record<string, string>>): Promise<string> {
  const dir = await fresh('repository');
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', dir, '-c', 'user.name=A', '-c', 'user.email=a@b.c', ...args]);
  await writeAll(dir, project === 'qemu' ? qemuFiles : linuxFiles);
  git('init', '-q');
  git('add', '-A');
  git('commit', '-qm', 'vanilla');
  await writeAll(dir, work);
  git('add', '-A');
  return dir;
}

async function gitDiff(project: Project, work: Readonly<Record<string, string>>): Promise<string> {
  const dir = await repository(project, work);
  return execFileSync('git', ['-C', dir, 'diff', '--cached'], { encoding: 'latin1' });
}

async function hand(files: Readonly<Record<string, string | Buffer>>, name = 'ana'): Promise<string> {
  const dir = await fresh(name);
  await writeAll(dir, files);
  return dir;
}

async function take(path: string): Promise<Submission> {
  return await takeIn(path, { trees, lab: intakeRules, into: await fresh('into'), signal, timeouts });
}

async function takeFiles(files: Readonly<Record<string, string | Buffer>>): Promise<Submission> {
  return await take(await hand(files));
}

async function fitOf(submission: Submission, project: Project): Promise<Fit> {
  const part = submission.parts[project];
  if (part === undefined) throw new Error(`no part for ${project}: ${JSON.stringify(submission.problems)}`);
  return await fit(part, trees[project].tree, { signal, timeouts });
}

async function treeAfter(
  submission: Submission,
  project: Project,
): Promise<Record<string, string | undefined>> {
  const { files } = await fitOf(submission, project);
  return Object.fromEntries([...files].map(([path, { data }]) => [path, data?.toString('latin1')]));
}

const facts = ({ problems }: Submission) => problems.map(({ fact }) => fact);

describe('forms of a hand-in', () => {
  test('a folder with both patches, an application and a report', async () => {
    const files = {
      'q.patch': patches.qemu,
      'l.patch': patches.linux,
      'my-app.c': applicationSource,
      'report.pdf': '%PDF-1.5',
    };
    const submission = await takeFiles(files);
    expect(facts(submission)).toEqual([]);
    expect(submission.id).toBe('ana');
    expect(await treeAfter(submission, 'qemu')).toEqual(qemuWork);
    expect(await treeAfter(submission, 'linux')).toEqual(linuxWork);
    expect(submission.report).toBe('report.pdf');
    expect(await readFile(submission.application?.path ?? '', 'utf8')).toBe(applicationSource);
    expect(submission.module).toBeUndefined();
    expect(submission.parts.qemu).toMatchObject({ wasPatch: true, origin: 'q.patch' });
    expect(submission.parts.qemu?.files).toContainEqual({
      path: 'hw/misc/my-rng.c',
      kind: 'added',
      added: 6,
      removed: 0,
    });
  });
});
