import { access, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LabError } from '../errors.js';
import { run } from '../host/run.js';
import { artifactsRoot, getOrMake } from '../host/store.js';
import { downloadDebs } from '../sources/debian.js';
import { PYTHON } from './tools.js';
import type { BuildContext } from './worktree.js';

/** What has to be in the environment of everything that runs Meson; `undefined` leaves a variable out. */
export interface MesonEnvironment {
  readonly [name: string]: string | undefined;
}

/**
 * The environment in which the QEMU tree `src` finds a Meson that is new enough.
 *
 * Upstream's tarballs carry one as a wheel, Debian's do not. When the host's is too old or missing, Debian's package
 * of a later release is unpacked into the cache and put on Python's path, for this build alone.
 *
 * @throws LabError `build/no-meson`, and what fetching the package throws.
 */
export async function mesonFor(src: string, context: BuildContext): Promise<MesonEnvironment> {
  // a caller's own Python settings must not decide what the build sees
  const clean = { PYTHONPATH: undefined, PYTHONHOME: undefined };
  const wanted = await wantedVersion(src);
  if (await hasWheel(src)) return clean;
  const installed = await systemVersion(context);
  if (installed !== undefined && isAtLeast(installed, wanted)) return clean;
  return { ...clean, PYTHONPATH: await privateMeson(wanted, context) };
}

/** True when version `a` is `b` or later; both are dotted numbers, and what follows them does not count. */
export function isAtLeast(a: string, b: string): boolean {
  const [left, right] = [a, b].map((version) => (/^[\d.]+/.exec(version)?.[0] ?? '0').split('.').map(Number));
  for (let i = 0; i < Math.max(left?.length ?? 0, right?.length ?? 0); i += 1) {
    const difference = (left?.[i] ?? 0) - (right?.[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

async function wantedVersion(src: string): Promise<string> {
  const text = await readFile(join(src, 'meson.build'), 'utf8').catch(() => '');
  return /meson_version:\s*'>=\s*([\d.]+)'/.exec(text)?.[1] ?? '0';
}

async function hasWheel(src: string): Promise<boolean> {
  const wheels = await readdir(join(src, 'python/wheels')).catch(() => []);
  return wheels.some((name) => /^meson-.*\.whl$/.test(name));
}

async function systemVersion({ step, timeouts }: BuildContext): Promise<string | undefined> {
  const script = 'import mesonbuild.coredata as c; print(c.version)';
  const options = {
    signal: step.signal,
    timeout: timeouts.hostTool,
    accept: [0, 1],
    env: { PYTHONPATH: undefined },
  };
  const { exitCode, stdout } = await run(PYTHON, ['-c', script], options);
  return exitCode === 0 ? stdout.trim() : undefined;
}

/** The folder to put on Python's path. */
async function privateMeson(wanted: string, context: BuildContext): Promise<string> {
  const { step, timeouts } = context;
  const { dir } = await getOrMake({
    kind: 'meson',
    inputs: { wanted },
    signal: step.signal,
    make: async (to, log) => {
      step.note(`this QEMU needs Meson ${wanted} or later, which the host lacks: Debian's is used privately`);
      const downloads = join(dirname(artifactsRoot()), 'downloads', 'meson');
      const [deb] = await downloadDebs([{ name: 'meson', minVersion: wanted }], downloads, context);
      if (deb === undefined) throw noMeson(wanted);
      await run('dpkg-deb', ['-x', deb.path, to], { log, signal: step.signal, timeout: timeouts.hostTool });
      await access(join(to, MODULES, 'mesonbuild')).catch(() => Promise.reject(noMeson(wanted)));
      await rm(downloads, { recursive: true });
    },
  });
  return join(dir, MODULES);
}

const MODULES = 'usr/lib/python3/dist-packages';

function noMeson(wanted: string): LabError {
  return new LabError({
    code: 'build/no-meson',
    blame: 'host',
    fact: `no Meson ${wanted} or later was found, on this host or in Debian's archive`,
    next: 'install a newer Meson, or use a QEMU release tarball, which carries its own',
  });
}
