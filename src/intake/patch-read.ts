import type { FileDiff, Section } from './patch.js';
import { parsePatch } from './patch-parse.js';

/** The sections of a patch that `writePatch` wrote. */
export function sectionsIn(text: string): Section[] {
  return parsePatch(text).files.map(sectionOf);
}

function sectionOf({ oldName, newName, hunks }: FileDiff): Section {
  const name = newName ?? oldName ?? '';
  const kind = oldName === undefined ? 'added' : newName === undefined ? 'deleted' : 'changed';
  return { path: name.slice(name.indexOf('/') + 1), kind, hunks };
}
