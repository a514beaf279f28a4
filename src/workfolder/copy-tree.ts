import { rm, stat, statfs, writeFile } from 'node:fs/promises';
import { LabError } from '../errors.js';
import type { Step } from '../events.js';
import { run } from '../host/run.js';
import { sizeInWords } from '../intake/names.js';
import { type ResolvedSource, titleOf } from '../sources/source.js';
import type { Timeouts } from '../timeouts.js';

export interface CopyContext {
  readonly step: Step;
  readonly timeouts: Timeouts;
}

/**
 * Copies a source tree to `to`, which is not there yet, and says before how large it is. No inode is shared; blocks are,
 * where the file system can. What version control keeps in a tree of the user's own stays out.
 *
 * @throws LabError `work/no-space`; `run/…`; `interrupted`, and then half a tree is left.
 */
export async function copyTree(
  { project, version, tree, origin }: ResolvedSource,
  to: string,
  folder: string,
  { step, timeouts }: CopyContext,
): Promise<void> {
  const options = { signal: step.signal, timeout: timeouts.build };
  const { stdout } = await run('find', [tree, '-printf', '%b\\n'], options);
  const blocks = stdout.trimEnd().split('\n').map(Number);
  const files = blocks.length;
  const size = 512 * blocks.reduce((sum, count) => sum + count, 0);
  const title = `${titleOf(project)} ${version}`;
  step.note(`copying ${title}: ${files.toLocaleString('en-US')} files, ${sizeInWords(size)}, to ${folder}`);
  await requireSpace(folder, title, size);
  let done = 0;
  const onLine = () => {
    done += 1;
    step.progress(done, files, 'steps');
  };
  if (origin.kind === 'path') {
    const leftOut = ['--exclude=.git', ...(project === 'qemu' ? ['--exclude=/build'] : [])];
    await run('rsync', ['--archive', '--verbose', ...leftOut, `${tree}/`, to], { ...options, onLine });
  } else {
    const flags = ['--archive', '--verbose', '--reflink=auto', '--no-target-directory'];
    await run('cp', [...flags, '--', tree, to], { ...options, onLine });
  }
}

async function requireSpace(folder: string, title: string, size: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize > size * 1.05) return;
  throw new LabError({
    code: 'work/no-space',
    blame: 'host',
    fact: `${folder} has ${sizeInWords(bavail * bsize)} free, and ${title} takes ${sizeInWords(size)}`,
    next: 'free some space, or name a folder on a larger disk with --into DIR; --only leaves a tree out',
  });
}

/** The time of now, by the clock of the folder's file system, ms. */
export async function timeOf(file: string): Promise<number> {
  await writeFile(file, '');
  const { ctimeMs } = await stat(file);
  await rm(file);
  return ctimeMs;
}
