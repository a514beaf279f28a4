import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Diagnostic } from './diagnostics.js';

const NAME = 'warnings.json';

/** Keeps in an artifact what was warned of while it was built. */
export async function keepWarnings(dir: string, warnings: readonly Diagnostic[]): Promise<void> {
  await writeFile(join(dir, NAME), `${JSON.stringify(warnings, null, 2)}\n`);
}

/** What was warned of when the artifact in `dir` was built. */
export async function readWarnings(dir: string): Promise<Diagnostic[]> {
  return JSON.parse(await readFile(join(dir, NAME), 'utf8')) as Diagnostic[];
}
