import { readdirSync } from 'node:fs';
import { join, relative } from 'node:path';

/** The folder of the repository. */
export const root = join(import.meta.dirname, '../..');

/** All TypeScript files of the product, relative to `root`. */
export const sourceFiles: readonly string[] = ['src', 'tasks'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name))),
);
