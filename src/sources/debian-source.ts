import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isAbort, LabError } from '../errors.js';
import { unpack } from '../host/archive.js';
import { run } from '../host/run.js';
import {
  type AptContext,
  type AptIndex,
  type AptSystem,
  downloadPackages,
  namesWith,
  openIndex,
  readAptSystem,
  versionsOf,
} from './apt.js';
import { groupsFor } from './apt-sources.js';
import { compareDebianVersions, upstreamOf } from './debian-version.js';
import type { Project } from './releases.js';

/** A package of Debian's that holds the source of a project. */
export interface DebianCandidate {
  readonly project: Project;
  readonly package: string;
  /** Debian's version, and the upstream version in it. */
  readonly version: string;
  readonly upstream: string;
  readonly suite: string;
  readonly index: AptIndex;
}

/** Versions that the labs can be built from: from the first, before the second. */
const usable = { qemu: ['8.2~', '11~'], linux: ['6.1', '6.13~'] } as const;

export interface DebianSearch {
  readonly project: Project;
  readonly wanted: string;
  readonly refresh: boolean;
  /** Receives one line for each suite that could not be searched. */
  readonly onMiss: (line: string) => void;
}

/**
 * Debian's packages with the source of a project, best first; an index is fetched only when it is reached.
 *
 * QEMU: the source package from the host's backports, from Debian's next release, from its own. Linux: the package
 * `linux-source-X` of the newest usable series that is not older than the wanted one, from the host's own release or
 * the next; then of an older series.
 *
 * @throws LabError `sources/no-apt`, `interrupted`.
 */
export async function* debianCandidates(
  search: DebianSearch,
  context: AptContext,
): AsyncGenerator<DebianCandidate> {
  const system = await readAptSystem();
  const older: DebianCandidate[] = [];
  for (const group of search.project === 'qemu' ? ['backports', 'next', 'stable'] : ['stable', 'next']) {
    const found = await searchGroup(system, group, search, context);
    for (const candidate of found) {
      if (search.project === 'qemu' || isNotOlder(candidate.upstream, search.wanted)) yield candidate;
      else older.push(candidate);
    }
  }
  yield* older;
}

/** By series: 6.6.1 is no reason to pass over 6.6.0. */
function isNotOlder(version: string, wanted: string): boolean {
  const series = (text: string) => text.split('.').slice(0, 2).join('.');
  return compareDebianVersions(series(version), series(wanted)) >= 0;
}

async function searchGroup(
  system: AptSystem,
  group: string,
  search: DebianSearch,
  context: AptContext,
): Promise<DebianCandidate[]> {
  const suites = groupsFor(system.codename)[group];
  if (suites === undefined) return [];
  const type = search.project === 'qemu' ? 'deb-src' : 'deb';
  try {
    const index = await openIndex({ system, type, suites, refresh: search.refresh }, context);
    return await candidatesIn(index, search.project, context);
  } catch (error) {
    if (isAbort(error) || !(error instanceof LabError)) throw error;
    search.onMiss([error.message, ...error.evidence.slice(-1)].join(': '));
    return [];
  }
}

async function candidatesIn(
  index: AptIndex,
  project: Project,
  context: AptContext,
): Promise<DebianCandidate[]> {
  const prefix = 'linux-source-';
  const names = project === 'qemu' ? ['qemu'] : await namesWith(index, prefix, context);
  const found: DebianCandidate[] = [];
  for (const [name, versions] of await versionsOf(index, names, context)) {
    for (const { version, suite } of versions) {
      const upstream = upstreamOf(version);
      if (isUsable(project, upstream))
        found.push({ project, package: name, version, upstream, suite, index });
    }
  }
  return found.sort((a, b) => compareDebianVersions(b.version, a.version));
}

function isUsable(project: Project, version: string): boolean {
  const [from, before] = usable[project];
  return compareDebianVersions(version, from) >= 0 && compareDebianVersions(version, before) < 0;
}

export interface UnpackedSource {
  /** Folder of the tree, inside the folder that was given. */
  readonly root: string;
  readonly digest: string;
  readonly patched: readonly string[];
}

/**
 * Downloads a candidate and unpacks it with Debian's patches.
 *
 * @param work an empty folder; the tree ends up in it.
 * @throws LabError `sources/apt-download`, `run/missing` without dpkg-dev, `run/failed`, `interrupted`.
 */
export async function fetchDebian(
  candidate: DebianCandidate,
  work: string,
  context: AptContext,
): Promise<UnpackedSource> {
  const packages = join(work, 'packages');
  const wanted = [`${candidate.package}=${candidate.version}`];
  const files = await downloadPackages(candidate.index, wanted, packages, context);
  const [first] = files.filter(({ path }) => /\.(dsc|deb)$/.test(path));
  if (first === undefined) throw new TypeError('apt-get printed no URIs');
  context.step.output(`unpacking ${candidate.package} ${candidate.version}`);
  const unpacked = await (candidate.project === 'qemu' ? unpackSourcePackage : unpackLinux)(
    first,
    work,
    context,
  );
  await rm(packages, { recursive: true });
  return unpacked;
}

interface PackageFile {
  readonly path: string;
  readonly sha256: string;
}

/** The `.dsc` names the digests of the other files; its own digest stands for all of them. */
async function unpackSourcePackage(
  dsc: PackageFile,
  work: string,
  { step, timeouts }: AptContext,
): Promise<UnpackedSource> {
  const root = join(work, 'tree');
  const options = { signal: step.signal, timeout: timeouts.unpackSource };
  await run('dpkg-source', ['-q', '-x', dsc.path, root], options);
  await rm(join(root, '.pc'), { recursive: true, force: true });
  const series = await readFile(join(root, 'debian/patches/series'), 'utf8').catch(() => '');
  const count = series.split('\n').filter((line) => /^[^#\s]/.test(line)).length;
  return { root, digest: dsc.sha256, patched: [`${count} patches by Debian`] };
}

/** The package holds a tarball to which Debian's patches are applied already. */
async function unpackLinux(
  deb: PackageFile,
  work: string,
  { step, timeouts }: AptContext,
): Promise<UnpackedSource> {
  const inside = join(work, 'package');
  const options = { signal: step.signal, timeout: timeouts.unpackSource };
  await run('dpkg-deb', ['-x', deb.path, inside], options);
  const names = await readdir(join(inside, 'usr/src'));
  const tarball = names.find((name) => /^linux-source-.*\.tar\.xz$/.test(name)) ?? '';
  const root = join(work, 'tree');
  await unpack(join(inside, 'usr/src', tarball), root, { strip: 1, signal: step.signal });
  await rm(inside, { recursive: true });
  return { root, digest: deb.sha256, patched: ['patches by Debian'] };
}
