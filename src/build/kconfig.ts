import { LabError } from '../errors.js';

/** Values of symbols, without `CONFIG_`: `y`, `m`, `n`, a number, or a quoted string. */
export type Kconfig = ReadonlyMap<string, string>;

/** A `.config` or a fragment of one; later lines win. `# CONFIG_X is not set` counts as `n`. */
export function parseKconfig(text: string): Kconfig {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const set = /^CONFIG_(\w+)=(.+?)\s*$/.exec(line) ?? /^# CONFIG_(\w+) is (not set)\s*$/.exec(line);
    if (set?.[1] !== undefined) values.set(set[1], set[2] === 'not set' ? 'n' : (set[2] ?? ''));
  }
  return values;
}

/** Several configurations as one; later ones win. */
export function mergeKconfig(...parts: readonly Kconfig[]): Kconfig {
  return new Map(parts.flatMap((part) => [...part]));
}

/** In the form that kconfig reads. */
export function formatKconfig(config: Kconfig): string {
  return [...config]
    .map(([name, value]) => (value === 'n' ? `# CONFIG_${name} is not set` : `CONFIG_${name}=${value}`))
    .join('\n')
    .concat('\n');
}

/**
 * Checks that kconfig kept every symbol of `wanted`: it silently drops those that do not exist in this version or
 * whose dependencies are not met.
 *
 * @throws LabError `build/kconfig` that lists what was lost, each with what became of it.
 */
export function checkKconfig(wanted: Kconfig, actual: Kconfig, what: string): void {
  const lost = [...wanted].filter(([name, value]) => (actual.get(name) ?? 'n') !== value);
  if (lost.length === 0) return;
  throw new LabError({
    code: 'build/kconfig',
    blame: 'user',
    fact: `the configuration of ${what} lost ${lost.length} of ${mergeKconfig(wanted).size} wanted symbols`,
    evidence: lost.map(
      ([name, value]) => `CONFIG_${name}: wanted ${value}, got ${actual.get(name) ?? 'nothing'}`,
    ),
    next: 'add what those symbols depend on, or use a version of Linux that has them',
  });
}

/** Whether a path of a source tree is that of a file that defines symbols. */
export function isKconfigFile(path: string): boolean {
  return /(^|\/)Kconfig[^/]*$/.test(path);
}

/** The symbols that the text of a Kconfig file defines. */
export function definedSymbols(text: string): Set<string> {
  return new Set([...text.matchAll(/^\s*(?:menu)?config\s+(\w+)/gm)].map(([, name]) => name ?? ''));
}
