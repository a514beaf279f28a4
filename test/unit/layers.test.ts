import { readFileSync } from 'node:fs';
import { join, normalize } from 'node:path';
import { describe, expect, test } from 'vitest';
import { sourceFiles as files, root } from '../support/source-files.js';

/** Bottom first. Imports, type imports included, go to a lower layer or stay in their room. */
const LAYERS: readonly (readonly string[])[] = [
  ['src/deadline.ts', 'src/errors.ts', 'src/events.ts', 'src/timeouts.ts'],
  ['src/waits.ts'],
  ['src/host'],
  ['src/monitor', 'src/console', 'src/nbd'],
  ['src/qtest'],
  ['src/sources', 'src/machine'],
  ['src/build'],
  ['src/image', 'src/guest', 'src/intake'],
  ['src/sandbox'],
  ['src/lab'],
  ['src/workfolder'],
  ['src/grade'],
  ['src/bench'],
  ['src/labs'],
  ['tasks'],
];

/** One room owns each package; its types do not leak. */
const OWNERS: Readonly<Record<string, string>> = {
  ssh2: 'src/guest',
  execa: 'src/host',
  undici: 'src/host',
  tar: 'src/host',
  openpgp: 'src/sources',
  listr2: 'tasks',
  '@commander-js/extra-typings': 'tasks',
  '@bomb.sh/tab': 'tasks',
};

interface Import {
  readonly file: string;
  readonly target: string;
}

const imports: readonly Import[] = files.flatMap((file) => {
  const text = readFileSync(join(root, file), 'utf8');
  const found = text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g);
  return [...found].map(([, target = '']) => ({ file, target }));
});

function roomOf(path: string): string {
  const parts = path.split('/');
  return path.startsWith('tasks/') ? 'tasks' : parts.slice(0, 2).join('/').replace(/\.js$/, '.ts');
}

function levelOf(path: string): number {
  return LAYERS.findIndex((rooms) => rooms.includes(roomOf(path)));
}

describe('imports', () => {
  test('every file belongs to a layer', () => {
    expect(files.length).toBeGreaterThan(50);
    expect(files.filter((file) => levelOf(file) === -1)).toEqual([]);
  });

  test('go downward, or stay in their room', () => {
    const upward = imports
      .filter(({ target }) => target.startsWith('.'))
      .map(({ file, target }) => ({ file, to: normalize(join(file, '..', target)) }))
      .filter(({ file, to }) => roomOf(file) !== roomOf(to) && levelOf(to) >= levelOf(file));
    expect(upward).toEqual([]);
  });

  test('have no cycles between files', () => {
    const edges = new Map<string, string[]>();
    for (const { file, target } of imports.filter((entry) => entry.target.startsWith('.'))) {
      const to = normalize(join(file, '..', target)).replace(/\.js$/, '.ts');
      edges.set(file, [...(edges.get(file) ?? []), to]);
    }
    expect(findCycle(edges)).toBeUndefined();
  });

  test('leave each package to the room that owns it', () => {
    const foreign = imports.filter(({ file, target }) => {
      const owner = Object.entries(OWNERS).find(
        ([name]) => target === name || target.startsWith(`${name}/`),
      )?.[1];
      return owner !== undefined && roomOf(file) !== owner;
    });
    expect(foreign).toEqual([]);
  });
});

function findCycle(edges: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const next of edges.get(file) ?? []) {
      const cycle = visit(next, [...path, file]);
      if (cycle !== undefined) return cycle;
    }
    done.add(file);
    return undefined;
  };
  for (const file of edges.keys()) {
    const cycle = visit(file, []);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}
