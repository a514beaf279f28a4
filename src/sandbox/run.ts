import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isAbort, LabError } from '../errors.js';
import { unpack } from '../host/archive.js';
import { quote, type RunOptions, type RunResult, run } from '../host/run.js';
import { type JailStatus, type OpenJail, openJail, outOfMemory, setupFailed } from './jail.js';
import type { Jail } from './spec.js';
import { makeStage } from './stage.js';

export type JailedRunOptions = Omit<RunOptions, 'cwd' | 'env' | 'input' | 'nice'> & {
  /** Files and folders, relative to the overlaid tree, that are copied out when the command has ended well. */
  readonly extract?: { readonly paths: readonly string[]; readonly to: string };
};

/** Printed by a build that is in order: a few hundred kilobytes. */
const MAX_OUTPUT = 32 * 1024 ** 2;

/** Characters of a line that go on to listeners and into errors. */
const MAX_LINE = 2000;

/**
 * Runs a command in a jail of its own to its end; nothing of it is left. What is extracted are regular files and
 * folders only, whatever the code inside made of those names; missing ones are left out. Links, owners and special
 * modes are not kept, and in sum it is never more than `limits.scratch`.
 *
 * @throws LabError `sandbox/setup` (blame host) when the command never began; `sandbox/memory` (blame host) when the
 *   host, out of memory, killed something of it and it did not end well; `sandbox/extract` (blame submission) when
 *   what is to be copied out is too much; `sandbox/results` (blame host) when the disk cannot take it; otherwise as `run` does.
 */
export async function runJailed(
  jail: Jail,
  command: readonly [string, ...string[]],
  { extract, ...options }: JailedRunOptions,
): Promise<RunResult> {
  const aside = await makeStage('out');
  const archive = join(aside, 'out.tar');
  await writeFile(archive, '');
  const extraction = extract === undefined ? undefined : { paths: extract.paths, archive };
  const tail = new Tail(options.onLine);
  try {
    await using open = await openJail(jail, extraction);
    const [file = '', ...prefix] = open.prefix;
    const all = { maxOutput: MAX_OUTPUT, ...options, accept: ANY, onLine: tail.add };
    const result = await run(file, [...prefix, ...command], all).catch((error) => {
      throw explain(error, command, options, open);
    });
    if (open.status().begun === 0) throw setupFailed(tail.lines);
    if (!(options.accept ?? [0]).includes(result.exitCode)) {
      if (open.starved()) throw outOfMemory(tail.lines);
      throw failed('failed', `failed with exit code ${result.exitCode}`, command, options, tail.lines);
    }
    if (extract !== undefined) {
      checkExtracted(open.status());
      const signal = options.signal ?? new AbortController().signal;
      await unpack(archive, extract.to, { signal }).catch((error) => {
        throw isAbort(error) ? error : notUnpacked(error);
      });
    }
    return result;
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

const ANY = Array.from({ length: 256 }, (_, code) => code);

/** Hands on lines of bounded length and keeps the last ones. */
class Tail {
  readonly lines: string[] = [];
  readonly #listener: ((line: string) => void) | undefined;

  constructor(listener: ((line: string) => void) | undefined) {
    this.#listener = listener;
  }

  add = (whole: string): void => {
    const line = whole.slice(0, MAX_LINE);
    this.lines.push(line);
    if (this.lines.length > 20) this.lines.shift();
    this.#listener?.(line);
  };
}

/** A command that failed before it began is our own failure. */
function explain(
  error: unknown,
  command: readonly string[],
  options: RunOptions,
  jail: Pick<OpenJail, 'status' | 'starved'>,
): unknown {
  if (!(error instanceof LabError) || !error.code.startsWith('run/')) return error;
  if (jail.status().begun === 0) return setupFailed(error.evidence, error);
  if (jail.starved()) return outOfMemory(error.evidence, error);
  const evidence = error.evidence.map((line) => line.slice(0, MAX_LINE));
  const seconds = (options.timeout / 1000).toFixed(0);
  if (error.code === 'run/timeout')
    return failed('timeout', `did not end within ${seconds} s and was killed`, command, options, evidence);
  if (error.code === 'run/output')
    return failed('output', 'printed without end and was killed', command, options, evidence);
  return failed('failed', 'was killed, as happens when memory is used up', command, options, evidence);
}

/** Without the jail's own part of the command line, which tells nobody anything. */
function failed(
  kind: 'failed' | 'timeout' | 'output',
  how: string,
  command: readonly string[],
  { log }: RunOptions,
  evidence: readonly string[],
): LabError {
  const shown = command.map(quote).join(' ').replaceAll('\n', '; ');
  return new LabError({
    code: `run/${kind}`,
    blame: 'host',
    fact: `${shown.length <= 120 ? shown : `${shown.slice(0, 117)}...`} ${how}`,
    evidence: [...evidence],
    log,
    next: log === undefined ? 'run the command by hand to see more' : 'read the log',
  });
}

/** What a shell says of a program that wrote more than RLIMIT_FSIZE: 128 + SIGXFSZ. */
const TOO_LARGE = 153;

function checkExtracted({ extracted }: JailStatus): void {
  if (extracted === 0) return;
  if (extracted !== TOO_LARGE)
    throw setupFailed([`copying the results ended with code ${extracted ?? 'none'}`]);
  throw new LabError({
    code: 'sandbox/extract',
    blame: 'submission',
    fact: 'what was built is far larger than it can be',
    next: 'look for what makes the files so large: debug information, or arrays with initial values',
  });
}

/** The archive is whole, and nothing in it but what we chose ourselves. */
function notUnpacked(error: unknown): LabError {
  return new LabError({
    code: 'sandbox/results',
    blame: 'host',
    fact: 'the results of a build could not be unpacked',
    evidence: error instanceof LabError ? error.evidence.slice(0, 10) : [String(error)],
    next: 'see whether the disk is full, then run the same command again',
    cause: error,
  });
}
