import { access, constants, readdir } from 'node:fs/promises';
import { LabError } from '../errors.js';
import type { Timeouts } from '../timeouts.js';
import { run } from './run.js';

/** The command that installs Debian packages on this host, for a person to read and for us to run. */
export function installCommand(packages: readonly string[]): string[] {
  const apt = ['apt-get', 'install', '-y', '--no-install-recommends', ...packages];
  return process.getuid?.() === 0 ? apt : ['sudo', ...apt];
}

/**
 * Installs Debian packages system-wide. The package lists are fetched first where there are none.
 *
 * @throws LabError `packages/no-apt` where this is no Debian, `run/failed` with apt's last lines.
 */
export async function installPackages(
  packages: readonly string[],
  options: { timeouts: Timeouts; signal: AbortSignal; onLine: (line: string) => void },
): Promise<void> {
  const { timeouts, signal, onLine } = options;
  await requireApt(packages);
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  const settings = { env, signal, onLine, timeout: timeouts.image };
  const [program = '', ...args] = installCommand(packages);
  if (await listsAreMissing()) {
    const [updater = '', ...rest] =
      program === 'sudo' ? ['sudo', 'apt-get', 'update'] : ['apt-get', 'update'];
    await run(updater, rest, settings);
  }
  await run(program, args, settings);
}

async function requireApt(packages: readonly string[]): Promise<void> {
  try {
    await access('/usr/bin/apt-get', constants.X_OK);
  } catch (cause) {
    throw new LabError({
      code: 'packages/no-apt',
      blame: 'host',
      fact: 'this host has no apt-get, so nothing can be installed for you',
      evidence: [`needed, by their names in Debian: ${packages.join(' ')}`],
      next: "install what these hold with your system's own package manager",
      cause,
    });
  }
}

async function listsAreMissing(): Promise<boolean> {
  const lists = await readdir('/var/lib/apt/lists').catch(() => []);
  return !lists.some((name) => /_Packages(\.|$)/.test(name));
}
