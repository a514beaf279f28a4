import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { LabError } from '../errors.js';
import { nearest } from '../host/nearest.js';
import { packageRoot } from '../host/paths.js';
import type { Lab } from './lab.js';

const folder = join(packageRoot, 'src/labs');

/** The command line runs from a bundle in `dist/`, tests from the sources. */
const compiled = join(packageRoot, 'dist');
const isCompiled = fileURLToPath(import.meta.url).startsWith(`${compiled}/`);

/** Names of all labs: the folders of `src/labs/`. */
export function labNames(): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

/**
 * Loads a lab by the name of its folder.
 *
 * @throws LabError `lab/unknown` with the known names and the nearest one, `lab/invalid`.
 */
export async function loadLab(name: string): Promise<Lab> {
  const names = labNames();
  if (!names.includes(name)) throw unknown(name, names);
  return ((await importOf(name, 'lab')) as { lab: Lab }).lab;
}

/** A module of the lab's folder other than its definition; `undefined` when the lab has none of that name. */
export async function loadPart(name: string, part: string): Promise<unknown> {
  if (!existsSync(join(folder, name, `${part}.ts`))) return undefined;
  return await importOf(name, part);
}

async function importOf(name: string, part: string): Promise<unknown> {
  const file = isCompiled ? join(compiled, 'src/labs', name, `${part}.js`) : join(folder, name, `${part}.ts`);
  return await import(pathToFileURL(file).href);
}

function unknown(name: string, names: readonly string[]): LabError {
  const near = nearest(name, names);
  return new LabError({
    code: 'lab/unknown',
    blame: 'user',
    fact: `there is no lab called ${name}`,
    evidence: [`known: ${names.join(', ')}`],
    next: near === undefined ? 'choose one of the known labs' : `did you mean \`lab up ${near}\`?`,
  });
}
