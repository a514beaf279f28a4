import { readFile } from 'node:fs/promises';
import { dirname, join, normalize, relative } from 'node:path';
import { type Blame, LabError } from '../errors.js';
import { type RunOptions, run } from '../host/run.js';
import { type Diagnostic, formatDiagnostics, type PathMap, parseDiagnostics } from './diagnostics.js';
import type { BuildContext, WorkTree } from './worktree.js';

/** Whose files are being compiled, and how the tools name them. */
export interface Compilation {
  /** What is built, for messages: `QEMU 10.0.13`. */
  readonly what: string;
  /** The path of a file as a tool names it → the key under which `owner` knows it. */
  readonly locate: PathMap;
  /** The file's own path and who answers for it; `undefined` for a file that is not contributed. */
  readonly owner: (located: string) => { readonly path: string; readonly blame: Blame } | undefined;
  /** Who answers for all other files; default `host`. */
  readonly otherwise?: Blame;
  /** A file to which the tool writes what it does not print; only its end is read, and only after a failure. */
  readonly hidden?: string;
}

/** Output of a build is kept up to this many lines for the diagnostics; the log has all of it. */
const KEEP_LINES = 50_000;
const EVIDENCE = 30;
const HIDDEN_LINES = 100;

/**
 * Runs one build command.
 *
 * @returns the warnings in contributed files.
 * @throws LabError `build/compile` with the diagnostics as evidence, blamed on whoever contributed the first file at
 *   fault; `build/failed` when the tool names no file; whatever `run` throws otherwise.
 */
export async function compile(
  file: string,
  args: readonly string[],
  options: RunOptions,
  compilation: Compilation,
): Promise<Diagnostic[]> {
  const env = { LC_ALL: 'C', ...options.env };
  return await diagnosed(
    (onLine) => run(file, args, { ...options, onLine, env }),
    compilation,
    options.onLine,
  );
}

/** As `compile`, for a command that the caller starts: `execute` hands on each of its lines and throws as `run` does. */
export async function diagnosed(
  execute: (onLine: (line: string) => void) => Promise<unknown>,
  compilation: Compilation,
  listener: ((line: string) => void) | undefined,
): Promise<Diagnostic[]> {
  const lines: string[] = [];
  const onLine = (line: string) => {
    if (lines.length < KEEP_LINES) lines.push(line);
    listener?.(line);
  };
  try {
    await execute(onLine);
  } catch (error) {
    if (error instanceof LabError && error.code === 'run/failed')
      throw explain(error, [...lines, ...(await hiddenLines(compilation))], compilation);
    throw error;
  }
  return ofContributors(parseDiagnostics(lines, compilation.locate), compilation);
}

async function hiddenLines({ hidden }: Compilation): Promise<string[]> {
  const text = hidden === undefined ? '' : await readFile(hidden, 'utf8').catch(() => '');
  return text.split('\n').slice(-HIDDEN_LINES);
}

function explain(error: LabError, lines: readonly string[], compilation: Compilation): LabError {
  const all = parseDiagnostics(lines, compilation.locate);
  const errors = all.filter(({ severity }) => severity === 'error');
  if (errors.length === 0) return failed(error, compilation);
  const guilty = errors.map(({ file }) => compilation.owner(file)).find((owner) => owner !== undefined);
  const shown =
    guilty === undefined ? errors : all.filter(({ file }) => compilation.owner(file) !== undefined);
  const evidence = formatDiagnostics(
    shown.map((d) => ({ ...d, file: compilation.owner(d.file)?.path ?? d.file })),
  );
  const count = `${errors.length} error${errors.length === 1 ? '' : 's'}`;
  return new LabError({
    code: 'build/compile',
    blame: guilty?.blame ?? compilation.otherwise ?? 'host',
    fact: `building ${compilation.what} failed with ${count}${guilty === undefined ? '' : `, first in ${guilty.path}`}`,
    evidence: evidence.slice(0, EVIDENCE),
    log: error.log,
    next:
      guilty === undefined
        ? 'read the log; the fault is in the source itself, not in a contributed file'
        : 'correct the file and run again',
    cause: error,
  });
}

function failed(error: LabError, { what }: Compilation): LabError {
  return new LabError({
    code: 'build/failed',
    blame: 'host',
    fact: `building ${what} failed: ${error.message}`,
    evidence: error.evidence,
    log: error.log,
    next: 'read the log; `lab doctor` checks the tools that the build needs',
    cause: error,
  });
}

function ofContributors(diagnostics: readonly Diagnostic[], { owner }: Compilation): Diagnostic[] {
  return diagnostics.flatMap((diagnostic) => {
    const own = owner(diagnostic.file);
    return own === undefined || diagnostic.severity === 'note' ? [] : [{ ...diagnostic, file: own.path }];
  });
}

/** Everything that tools print about files of a work tree, in terms of its contributions. */
export function compilationOf(
  what: string,
  { src, build, contributed, blame }: Pick<WorkTree, 'src' | 'build' | 'contributed' | 'blame'>,
): Compilation {
  const objects = new Map(
    [...contributed.keys()].flatMap((path) => objectNames(path).map((name) => [name, path])),
  );
  const locate: PathMap = (path) => {
    const full = path.startsWith('/') ? normalize(path) : join(build, path);
    if (full.startsWith(`${src}/`)) return relative(src, full);
    const inBuild = full.startsWith(`${build}/`) ? relative(build, full) : path;
    return objects.get(inBuild) ?? objects.get(inBuild.split('/').at(-1) ?? '') ?? inBuild;
  };
  return {
    what,
    otherwise: blame,
    locate,
    owner: (located) => {
      const path = contributed.has(located) ? located : askedForBy(located);
      const item = contributed.get(path);
      if (item === undefined) return undefined;
      return { path: item.kind === 'file' ? item.from : path, blame: item.blame ?? 'user' };
    },
  };
}

/** The makefile that asks for an object which no rule can make. */
function askedForBy(located: string): string {
  return located.endsWith('.o') ? join(dirname(located), 'Makefile') : '';
}

/** What kbuild and meson call the object of a C file: `a/b.o`, and `a_b.c.o` in some target's folder. */
function objectNames(path: string): string[] {
  if (!path.endsWith('.c')) return [];
  return [path.replace(/\.c$/, '.o'), `${path.replaceAll('/', '_')}.o`];
}

/** The C compiler and its target: part of the key of everything that it makes. */
export async function compilerVersion(context: BuildContext): Promise<string> {
  compiler ??= askCompiler(context);
  try {
    return await compiler;
  } catch (error) {
    compiler = undefined; // the caller that asked was stopped; the next one asks again
    throw error;
  }
}

/** It does not change while we run, and every build asks. */
let compiler: Promise<string> | undefined;

async function askCompiler({ step, timeouts }: BuildContext): Promise<string> {
  const { stdout } = await run('gcc', ['-dumpfullversion', '-dumpmachine'], {
    signal: step.signal,
    timeout: timeouts.hostTool,
  });
  return stdout.trim().split('\n').join(' ');
}
