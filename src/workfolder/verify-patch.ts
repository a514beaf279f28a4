import { copyFile, lstat, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { LabError } from '../errors.js';
import { run } from '../host/run.js';
import type { Difference } from './compare.js';
import type { WritePatchOptions } from './write-patch.js';

/**
 * Proves that patch(1) makes of the vanilla tree exactly what is in the work tree: every hunk at its line, with all of
 * its context. Only copies of the files that the patch names are touched.
 *
 * @param text one character per byte.
 * @throws LabError `work/patch-fails`; it is a mistake of ours, or the work tree changed meanwhile.
 */
export async function verifyPatch(
  text: string,
  differences: readonly Difference[],
  options: WritePatchOptions,
): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), 'lab-verify-'));
  try {
    for (const { path, kind } of differences) {
      await mkdir(dirname(join(scratch, path)), { recursive: true });
      if (kind !== 'added') await copyFile(join(options.pristine, path), join(scratch, path));
    }
    const said = await apply(text, scratch, options);
    const wrong: string[] = [];
    for (const { path } of differences) {
      const [made, wanted] = await Promise.all([
        contentOf(join(scratch, path)),
        contentOf(join(options.work, path)),
      ]);
      if (made !== wanted) wrong.push(`${path}: the patch makes something else of it`);
    }
    if (said.length > 0 || wrong.length > 0) throw patchFails([...wrong, ...said]);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** @returns what patch(1) had to say beside the names of the files. */
async function apply(text: string, cwd: string, { signal, timeout }: WritePatchOptions): Promise<string[]> {
  const args = [
    '--strip=1',
    '--unified',
    '--fuzz=0',
    '--batch',
    '--forward',
    '--no-backup-if-mismatch',
    '--get=0',
  ];
  const { stdout, stderr } = await run('patch', args, {
    ...{ cwd, signal, timeout, input: Buffer.from(text, 'latin1'), accept: [0, 1, 2] },
    env: { LC_ALL: 'C', POSIXLY_CORRECT: undefined, QUOTING_STYLE: 'literal' },
  });
  return `${stdout}\n${stderr}`
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('patching file '));
}

/** One character per byte; undefined for what is not there. */
async function contentOf(path: string): Promise<string | undefined> {
  const stats = await lstat(path).catch(() => undefined);
  return stats?.isFile() ? await readFile(path, 'latin1') : undefined;
}

function patchFails(evidence: readonly string[]): LabError {
  return new LabError({
    code: 'work/patch-fails',
    blame: 'host',
    fact: 'the patch does not make of the vanilla tree what is in the work tree',
    evidence: evidence.slice(0, 20),
    next: 'run the command again while nothing else writes to the work tree',
  });
}
