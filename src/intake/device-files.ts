import { posix } from 'node:path';
import type { HandedFile } from './collect.js';
import { plainText } from './text.js';

/** A device that an exercise asks for. */
export interface DeviceRule {
  readonly name: string;
  /** Words in the names of its file or class. */
  readonly words: RegExp;
}

export interface CodeFile {
  readonly name: string;
  readonly text: string;
}

/** A file with a device, and which one it is if its names tell. */
export interface DeviceEntry {
  readonly file: CodeFile;
  readonly device?: string;
}

const CODE = /\.[cm]?[jt]s$/i;
const NO_DEVICE = /(\.d\.[cm]?ts|[.-](test|spec|config)\.[cm]?[jt]s)$/i;
const PRODUCTS = /(^|\/)(dist|out|lib)\//;

/** Pure. The TypeScript and JavaScript among files of a hand-in; what was translated is left out where its source is there. */
export function codeFiles(files: readonly Pick<HandedFile, 'name' | 'data'>[]): CodeFile[] {
  const code = files
    .filter(({ name }) => CODE.test(name))
    .map(({ name, data }) => ({ name, text: decoded(data) }));
  const sources = code.filter(({ name }) => !PRODUCTS.test(name));
  return sources.some(isEntry) ? sources : code;
}

/** Line ends are as they were; texts in UTF-16 are made UTF-8. */
function decoded(data: Buffer): string {
  return Buffer.from(plainText(data).text, 'latin1').toString('utf8');
}

/**
 * Pure. Which file stands for which device: by the name of the file, else of what it exports; the first by name of
 * several. A device of which no name tells may be any file that exports something and that no other one imports.
 */
export function deviceEntries(
  files: readonly CodeFile[],
  rules: readonly DeviceRule[],
): { readonly entries: readonly DeviceEntry[]; readonly changes: readonly string[] } {
  const possible = files.filter(isEntry).sort((a, b) => (a.name < b.name ? -1 : 1));
  const changes: string[] = [];
  const entries = rules.flatMap(({ name: device, words }): DeviceEntry[] => {
    const byFile = possible.filter(({ name }) => words.test(posix.basename(name)));
    const named = byFile.length > 0 ? byFile : possible.filter(({ text }) => exports(text, words));
    const [file, ...others] = named;
    if (file === undefined) return [];
    for (const { name } of others) changes.push(`${name} was left aside: ${file.name} is the ${device}`);
    return [{ file, device }];
  });
  const left = rules.length - entries.length;
  if (left === 0) return { entries, changes };
  const imported = new Set(files.flatMap((file) => importedBy(file, files)));
  const nameless = possible.filter(
    (file) => !imported.has(file.name) && !entries.some((entry) => entry.file === file) && reads(file.text),
  );
  for (const { name } of nameless.slice(left))
    changes.push(`${name} was left aside: there are enough devices`);
  return { entries: [...entries, ...nameless.slice(0, left).map((file) => ({ file }))], changes };
}

function isEntry({ name, text }: CodeFile): boolean {
  return !NO_DEVICE.test(name) && /\bexport\b|\bmodule\.exports\b|\bexports\.\w/.test(text);
}

/** Whether something with these words in its name is exported, or is a class of a file that exports something. */
function exports(text: string, words: RegExp): boolean {
  const names = text.matchAll(
    /\bclass\s+(\w+)|\bexport\s+(?:default\s+)?(?:async\s+)?(?:const|let|function)\s+(\w+)|\bas\s+(\w+)/g,
  );
  return [...names].some(([, ...found]) => words.test(found.join('')));
}

function reads(text: string): boolean {
  return /\bread\b/.test(text) && /\bblocks\b/.test(text);
}

/** Names of those files that one imports by a path of its own. */
function importedBy({ name, text }: CodeFile, files: readonly CodeFile[]): string[] {
  const stem = (path: string) => path.replace(CODE, '');
  const paths = [...text.matchAll(/\b(?:from|import|require)\s*\(?\s*['"](\.{1,2}\/[^'"\n]+)['"]/g)];
  const stems = new Set(paths.map(([, path = '']) => stem(posix.join(posix.dirname(name), path))));
  return files.map((file) => file.name).filter((each) => stems.has(stem(each)));
}
