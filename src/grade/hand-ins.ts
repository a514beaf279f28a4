import { stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { LabError } from '../errors.js';
import type { HandIn } from './grading.js';

/**
 * A name for each hand-in: the file's or folder's own, made unique.
 *
 * @throws LabError `grade/no-hand-in` listing every path that does not exist, before any work.
 */
export async function nameHandIns(paths: readonly string[]): Promise<HandIn[]> {
  const present = await Promise.all(
    paths.map((path) =>
      stat(path).then(
        () => true,
        () => false,
      ),
    ),
  );
  const missing = paths.filter((_, i) => !present[i]);
  if (missing.length > 0) throw noHandIn(missing);
  const taken = new Map<string, number>();
  return paths.map((path) => {
    const name = nameOf(path);
    const count = (taken.get(name) ?? 0) + 1;
    taken.set(name, count);
    return { id: count === 1 ? name : `${name}-${count}`, path };
  });
}

function nameOf(path: string): string {
  const plain = basename(resolve(path)).replace(/\.(zip|tar|tgz|tar\.(gz|xz|bz2)|patch|diff|c)$/i, '');
  const safe = plain
    .normalize('NFC')
    .replace(/[^\p{L}\p{N}._-]+/gu, '_')
    .replace(/^[.-]+/, '');
  return /^canary-|^$|^report\./.test(safe) ? `hand-in-${safe}` : safe;
}

function noHandIn(missing: readonly string[]): LabError {
  return new LabError({
    code: 'grade/no-hand-in',
    blame: 'user',
    fact: missing.length === 1 ? 'a hand-in does not exist' : `${missing.length} hand-ins do not exist`,
    evidence: missing.slice(0, 20),
    next: 'check the paths; the shell expands submissions/* only if there is such a folder',
  });
}
