import { mkdir, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { missingTools, type Need, packagesOf, TOOLS, type Tool } from '../src/build/tools.js';
import { LabError } from '../src/errors.js';
import { installCommand, installPackages } from '../src/host/packages.js';
import { cacheRoot } from '../src/host/paths.js';
import { digestJson } from '../src/host/store.js';
import { hostTimeouts } from './host.js';
import { isInteractive } from './ui/display.js';
import { bytes } from './ui/progress.js';

export interface PreflightOptions {
  /** Consent to install what is missing; `CI` consents as well. */
  readonly yes: boolean;
  /** What is wanted of the host: see `needsOf`. */
  readonly needs: readonly Need[];
  readonly signal: AbortSignal;
}

/**
 * Makes sure that this host has the programs, libraries and space that building needs, before any work.
 *
 * @throws LabError `host/missing-tools` with the exact command, `host/no-space`.
 */
export async function preflight({ yes, needs, signal }: PreflightOptions): Promise<void> {
  await requireSpace(needs);
  const stamp = await toolsStamp(needs);
  if (await exists(stamp)) return;
  const missing = await missingTools(needs, { timeouts: hostTimeouts(), signal });
  if (missing.length > 0) await provide(missing, { needs, consent: yes || Boolean(process.env.CI), signal });
  await mkdir(join(cacheRoot(), 'probes'), { recursive: true });
  await writeFile(stamp, '');
}

async function provide(
  missing: readonly Tool[],
  { needs, consent, signal }: { needs: readonly Need[]; consent: boolean; signal: AbortSignal },
): Promise<void> {
  if (!consent && !(await ask(missing))) throw missingError(missing);
  await install(missing, needs, signal);
}

/** Installs what is missing and looks again: a package that does not hold what we think is our mistake to report. */
export async function install(
  missing: readonly Tool[],
  needs: readonly Need[],
  signal: AbortSignal,
): Promise<void> {
  const timeouts = hostTimeouts();
  const packages = packagesOf(missing);
  process.stderr.write(`installing ${packages.join(' ')}\n`);
  await installPackages(packages, { timeouts, signal, onLine: () => {} });
  const still = await missingTools(needs, { timeouts, signal });
  if (still.length > 0) throw missingError(still);
}

async function ask(missing: readonly Tool[]): Promise<boolean> {
  if (!isInteractive() || !process.stdin.isTTY) return false;
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    process.stderr.write(`${describe(missing).join('\n')}\n`);
    const answer = await terminal.question(
      `Run \`${installCommand(packagesOf(missing)).join(' ')}\` now? [Y/n] `,
    );
    return /^(y|yes|)$/i.test(answer.trim());
  } finally {
    terminal.close();
  }
}

/** A line per missing tool: what it is and which package holds it. */
export function describe(missing: readonly Tool[]): string[] {
  return missing.map(({ name, package: holder }) => `missing: ${name.padEnd(20)} (package ${holder})`);
}

function missingError(missing: readonly Tool[]): LabError {
  return new LabError({
    code: 'host/missing-tools',
    blame: 'host',
    fact: `${missing.length} things that building needs are not installed`,
    evidence: describe(missing),
    next: `${installCommand(packagesOf(missing)).join(' ')}   (or \`lab doctor --fix\`)`,
  });
}

/** Named by what could change the answer: the list itself and the host's installed packages. */
async function toolsStamp(needs: readonly Need[]): Promise<string> {
  const installed = await stat('/var/lib/dpkg/status').then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
  const key = digestJson({
    needs: [...needs],
    tools: TOOLS.map(({ name, package: p }) => `${name} ${p}`),
    installed,
  }).slice(0, 16);
  return join(cacheRoot(), 'probes', `tools-${key}`);
}

/** Bytes that sources, work trees and artifacts of one QEMU and one Linux take, and what a later build needs. */
const FIRST_BUILD = 6 * 1024 ** 3;
/** The same for packages, a guest image and its disk alone. */
const FIRST_WITHOUT_BUILD = 2 * 1024 ** 3;
const LATER_BUILD = 512 * 1024 ** 2;

async function requireSpace(needs: readonly Need[]): Promise<void> {
  await mkdir(cacheRoot(), { recursive: true });
  const first = needs.includes('qemu') || needs.includes('linux') ? FIRST_BUILD : FIRST_WITHOUT_BUILD;
  const needed = (await exists(join(cacheRoot(), 'work'))) ? LATER_BUILD : first;
  const { bavail, bsize } = await statfs(cacheRoot());
  if (bavail * bsize >= needed) return;
  throw new LabError({
    code: 'host/no-space',
    blame: 'host',
    fact: `${cacheRoot()} has ${bytes(bavail * bsize)} free, and ${bytes(needed)} are needed`,
    next: 'free some space (`lab cache prune` helps), or point XDG_CACHE_HOME to a larger disk',
  });
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
