import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Blame } from '../errors.js';
import { digestFile, getOrMake } from '../host/store.js';
import { type Compilation, compile, compilerVersion } from './compile.js';
import type { BuildContext } from './worktree.js';

export interface ProgramRequest {
  /** Host paths of C files; headers that they include by a relative path count as inputs too. */
  readonly sources: readonly string[];
  readonly name: string;
  /** Further compiler options, such as `-pthread`. */
  readonly cflags?: readonly string[];
  /** Who has to act when it does not compile; default `user`. */
  readonly blame?: Blame;
}

export interface Program {
  /** A static x86_64 executable: it runs in any guest, whatever C library that has. */
  readonly binary: string;
  readonly digest: string;
  readonly dir: string;
  readonly fresh: boolean;
}

const CFLAGS = ['-static', '-O2', '-std=gnu11', '-Wall', '-Wextra', '-Werror'];

/**
 * A static program for the guest.
 *
 * @throws LabError `build/compile` (a warning counts), `build/failed`.
 */
export async function buildProgram(request: ProgramRequest, context: BuildContext): Promise<Program> {
  const { sources, name, cflags = [] } = request;
  const options = [...CFLAGS, ...cflags];
  const compiler = await compilerVersion(context);
  const files = await Promise.all(
    (await withHeaders(sources)).map(async (path) => ({
      name: basename(path),
      sha256: await digestFile(path),
    })),
  );
  const artifact = await getOrMake({
    kind: 'program',
    inputs: { name, files, options, compiler },
    signal: context.step.signal,
    make: async (dir, log) => {
      const args = [...options, '-o', join(dir, name), ...sources];
      const { step, timeouts } = context;
      const onLine = (line: string) => step.output(line);
      const run = { log, signal: step.signal, timeout: timeouts.smallBuild, onLine };
      await compile('gcc', args, run, compilationOfProgram(request));
    },
  });
  return { ...artifact, binary: join(artifact.dir, name) };
}

/** C files and what they include in quotation marks; a file that is missing is the compiler's to name. */
async function withHeaders(sources: readonly string[]): Promise<readonly string[]> {
  const found = new Set<string>();
  for (const path of sources) {
    found.add(path);
    for (const [, name = ''] of (await readFile(path, 'utf8')).matchAll(/^#include "([^"]+)"/gm)) {
      const header = join(dirname(path), name);
      if (existsSync(header)) found.add(header);
    }
  }
  return [...found];
}

function compilationOfProgram({ sources, name, blame = 'user' }: ProgramRequest): Compilation {
  const own = (path: string) => sources.find((source) => source === path || basename(source) === path);
  return {
    what: `the program ${name}`,
    locate: (path) => own(path) ?? path,
    owner: (path) => (sources.includes(path) ? { path, blame } : undefined),
  };
}
