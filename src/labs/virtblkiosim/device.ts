import { quoteForShell } from '../../guest/command.js';
import { type CheckContext, CheckFailure } from '../../lab/check.js';
import type { ModuleSetup } from '../../lab/module-checks.js';
import { type Logged, mustRun } from '../../lab/run-logged.js';

export const NAME = 'virtblkiosim';
export const NODE = '/dev/virtblkiosim';
/** Bytes of the disk. */
export const BYTES = 32 * 1024 * 1024;

/** Shell words for scripts about the module under test. */
export interface ModuleWords {
  /** Path of the `.ko` file, quoted. */
  readonly ko: string;
  readonly insmod: string;
  readonly rmmod: string;
  /** Makes sure that it is loaded. */
  readonly load: string;
  /** Makes sure that it is not. */
  readonly unload: string;
}

/** @throws CheckFailure when no module was handed in. */
export function moduleWords({ modules }: ModuleSetup): ModuleWords {
  const path = modules[NAME];
  if (path === undefined) throw new CheckFailure(`no module ${NAME} was handed in`);
  const ko = quoteForShell(path);
  const insmod = `insmod ${ko}`;
  const rmmod = `rmmod ${NAME}`;
  return {
    ko,
    insmod,
    rmmod,
    load: `[ -d /sys/module/${NAME} ] || ${insmod}`,
    unload: `[ ! -d /sys/module/${NAME} ] || ${rmmod}`,
  };
}

/**
 * Runs a script with the module loaded; `set -e` holds.
 *
 * @param timeout milliseconds
 * @throws CheckFailure with what the script and the kernel said, when it fails.
 */
export async function withDevice(
  context: CheckContext,
  setup: ModuleSetup,
  script: string,
  timeout?: number,
): Promise<Logged> {
  const { load } = moduleWords(setup);
  return await mustRun(context, `${load}\n${script}`, timeout);
}

/** Lines that the module logged; those that the kernel wrote about it are left out. */
export function linesOfModule(log: readonly string[]): string[] {
  const foreign = /^virtblkiosim: (loading out-of-tree module|module license|module verification)/;
  return log.filter((line) => line.startsWith(`${NAME}: `) && !foreign.test(line));
}

/**
 * The only line that is like this one, in which `<number>` stands for digits: the match, with them.
 *
 * @throws CheckFailure with what was logged.
 */
export function expectLine(log: readonly string[], what: string, line: string): RegExpExecArray {
  const literal = line.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
  const pattern = new RegExp(`^${literal.replaceAll('<number>', String.raw`(\d+)`)}$`);
  const found = log.map((line) => pattern.exec(line)).filter((match) => match !== null);
  const [match] = found;
  if (match !== undefined && found.length === 1) return match;
  throw new CheckFailure(
    `the kernel log has ${found.length} lines about ${what} instead of one`,
    log.slice(-15),
    `the line looks like this: ${line}`,
  );
}
