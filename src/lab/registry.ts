import { readdirSync } from 'node:fs';
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
  const file = isCompiled ? join(compiled, 'src/labs', name, 'lab.js') : join(folder, name, 'lab.ts');
  const module = (await import(pathToFileURL(file).href)) as { lab: Lab };
  return module.lab;
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
