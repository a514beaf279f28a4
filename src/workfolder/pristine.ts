import { LabError } from '../errors.js';
import type { FetchContext } from '../host/fetch.js';
import type { Project } from '../sources/releases.js';
import { resolveSource } from '../sources/resolve.js';
import { type ResolvedSource, titleOf } from '../sources/source.js';
import type { MadeFrom, WorkFolder } from './record.js';

/** The vanilla source that a tree of a work folder was made from. */
export type Pristine = ResolvedSource;

/**
 * Finds the very source that a tree of a work folder is a copy of: in the cache, or again where it came from.
 *
 * @throws LabError `work/no-pristine` when another one answers now; what `resolveSource` throws.
 */
export async function pristineOf(
  { folder, record }: WorkFolder,
  project: Project,
  context: FetchContext,
): Promise<Pristine> {
  const from = record.trees[project];
  if (from === undefined) throw new TypeError(`${folder} has no tree of ${project}`);
  const source = await resolveSource({ project, ...choiceOf(from) }, context);
  if (source.digest === from.digest) return source;
  throw new LabError({
    code: 'work/no-pristine',
    blame: 'user',
    fact: `the ${titleOf(project)} that ${folder}/${project} was made from is not to be had any more`,
    evidence: [
      `made from: ${from.version}, ${from.origin.kind}: ${from.origin.detail}`,
      `now there: ${source.version}, ${source.origin.kind}: ${source.origin.detail}`,
    ],
    next: 'make a new work folder with `lab work --into DIR` and copy your files there',
  });
}

/** How to ask for that source again. */
export function choiceOf({ wanted, digest, path }: MadeFrom) {
  return { version: wanted, digest, ...(path === undefined ? {} : { path }) };
}
