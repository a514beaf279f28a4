import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError } from '../errors.js';
import type { FetchContext } from '../host/fetch.js';
import { run } from '../host/run.js';
import type { Package } from './recipe.js';

/** How to call Alpine's own apk on the host, on the guest's tree. */
export interface Apk {
  /** The guest's tree on the host. */
  readonly target: string;
  /** Program and first arguments. */
  readonly command: readonly string[];
}

/**
 * Unpacks the minirootfs twice: as the home of apk, which runs through its own musl loader, and as the guest's tree.
 * It checks the signatures of the repositories with the keys of the (verified) minirootfs, and has no network.
 *
 * @param repositories folders laid out as a mirror's sections are.
 * @throws LabError `image/no-user-namespace`.
 */
export async function openApk(
  minirootfs: string,
  work: string,
  repositories: readonly string[],
  { step, timeouts }: FetchContext,
): Promise<Apk> {
  const [tool, target] = [join(work, 'tool'), join(work, 'target')];
  for (const to of [tool, target]) {
    await mkdir(to);
    // The tree's links lead to absolute paths, as they must in a guest; only GNU tar takes them. Its digest is pinned.
    const args = ['-xpzf', minirootfs, '-C', to, '--no-same-owner'];
    await run('tar', args, { signal: step.signal, timeout: timeouts.hostTool });
  }
  await writeFile(join(work, 'repositories'), repositories.map((folder) => `${folder}\n`).join(''));
  await checkNamespace(step.signal, timeouts.hostTool);
  const command = [
    ...['unshare', '-r', join(tool, 'lib/ld-musl-x86_64.so.1')],
    ...['--library-path', `${tool}/lib:${tool}/usr/lib`, join(tool, 'sbin/apk')],
    ...['--arch', 'x86_64', '--keys-dir', join(tool, 'etc/apk/keys'), '--root', target],
    ...['--repositories-file', join(work, 'repositories'), '--no-cache', '--no-network', '--no-progress'],
  ];
  return { target, command };
}

async function checkNamespace(signal: AbortSignal, timeout: number): Promise<void> {
  try {
    await run('unshare', ['-r', 'true'], { signal, timeout });
  } catch (cause) {
    if (!(cause instanceof LabError) || cause.code !== 'run/failed') throw cause;
    throw new LabError({
      code: 'image/no-user-namespace',
      blame: 'host',
      fact: 'this host does not let an ordinary user make a user namespace, which Alpine’s apk needs',
      evidence: cause.evidence,
      next: 'allow user namespaces, or take the Debian guest',
      cause,
    });
  }
}

/** What installing `names` would add, sorted by name; apk checks the signature of the index for it. */
export async function planInstall(
  apk: Apk,
  names: readonly string[],
  context: FetchContext,
): Promise<Package[]> {
  const text = await runApk(apk, ['add', '--simulate', ...names], context);
  return plannedPackages(text);
}

/** Reads lines like `(3/19) Installing libuuid (2.39.3-r0)`. */
export function plannedPackages(text: string): Package[] {
  const found = text.matchAll(
    /^\(\d+\/\d+\) (?:Installing|Upgrading|Replacing) (\S+) \((?:\S+ -> )?(\S+)\)$/gm,
  );
  return unique([...found].map(([, name = '', version = '']) => ({ name, version })));
}

/** One of each name, sorted. */
export function unique(packages: readonly Package[]): Package[] {
  const byName = new Map(packages.map((p) => [p.name, p]));
  return [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * Runs one apk command and returns its standard output.
 *
 * @throws LabError `image/apk`.
 */
export async function runApk(
  apk: Apk,
  args: readonly string[],
  context: FetchContext,
  log?: string,
): Promise<string> {
  const [program = '', ...first] = apk.command;
  const { step, timeouts } = context;
  try {
    const result = await run(program, [...first, ...args], {
      signal: step.signal,
      timeout: timeouts.smallBuild,
      onLine: (line) => step.output(line),
      ...(log === undefined ? {} : { log }),
    });
    return result.stdout;
  } catch (cause) {
    if (!(cause instanceof LabError) || cause.code !== 'run/failed') throw cause;
    throw new LabError({
      code: 'image/apk',
      blame: 'host',
      fact: 'Alpine’s package manager refused to install the guest’s packages',
      evidence: cause.evidence,
      log,
      next: 'a damaged or tampered package is refused here: try again, then name another mirror',
      cause,
    });
  }
}
