import { problem } from './problems.js';
import type { Recognised } from './recognise.js';
import type { IntakeProblem } from './submission.js';

/** Words in the names of folders that hold a part of one hand-in. */
const PART_WORDS =
  /part|guided|basic|enhanc|bonus|extra|advanced|optional|improv|qemu|linux|kernel|module|driver|device|patch|diff|src|source|code|task|lab|old|backup|new|vanilla|original|orig|work|modified|final|hw|init|app|user|doc|report|test|step|stage|version|^v?\d+$/i;

/**
 * Top folders that are hand-ins of their own: at least two that each hold one of `texts`, a patch or a source, and whose
 * names are not those of parts. One entry or none means a single hand-in. Folders around everything do not count.
 */
export function handIns(
  texts: readonly Pick<Recognised, 'name' | 'text'>[],
  isPart: (folder: string) => boolean = () => false,
): string[] {
  const files = texts.map(({ name, text }) => ({ parts: name.split('/'), text }));
  let depth = 0;
  while (files.length > 0 && sameFolder(files, depth)) depth += 1;
  const folders = new Map<string, string[]>();
  for (const { parts, text } of files) {
    const folder = parts.length > depth + 1 ? (parts[depth] ?? '') : '';
    folders.set(folder, [...(folders.get(folder) ?? []), text]);
  }
  const own = [...folders].filter(([name]) => name !== '' && !PART_WORDS.test(name) && !isPart(name));
  const contents = new Set(own.map(([, texts]) => [...texts].sort().join('\0')));
  return own.length > 1 && own.length === folders.size && contents.size > 1 ? own.map(([name]) => name) : [];
}

/** For a hand-in of which nothing is graded for that reason. */
export function severalProblem(folders: readonly string[]): IntakeProblem {
  return problem(
    `these are ${folders.length} hand-ins in one: ${folders.join(', ')}; none was graded`,
    'hand in each student’s work by itself, or grade the folders one by one',
  );
}

function sameFolder(files: readonly { readonly parts: readonly string[] }[], depth: number): boolean {
  const first = files[0]?.parts[depth];
  return files.every(({ parts }) => parts.length > depth + 1 && parts[depth] === first);
}
