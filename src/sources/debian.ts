import { basename } from 'node:path';
import { LabError } from '../errors.js';
import {
  type AptContext,
  type AptIndex,
  type AptSystem,
  ask,
  downloadPackages,
  openIndex,
  readAptSystem,
  versionsOf,
} from './apt.js';
import { groupsFor } from './apt-sources.js';
import { compareDebianVersions } from './debian-version.js';

export interface DebWanted {
  readonly name: string;
  /** `stable`: the host's own release with its updates (default); `backports`: its backports; or a codename. */
  readonly suite?: string;
  /** Oldest Debian version that will do. */
  readonly minVersion?: string;
}

export interface Deb {
  readonly name: string;
  readonly version: string;
  readonly path: string;
  readonly sha256: string;
}

/**
 * Downloads binary packages for this host through its own apt settings, without root and without installing them.
 * Without a suite, a version that is too old leads on to backports and then to the next release of Debian. When the
 * archive no longer has what its index names, the index is refreshed once.
 *
 * @param dir folder for the `.deb` files; created if missing.
 * @returns in the order of `wanted`.
 * @throws LabError `sources/no-package`, `sources/no-apt`, `sources/apt-update`, `sources/apt-download`, `interrupted`.
 */
export async function downloadDebs(
  wanted: readonly DebWanted[],
  dir: string,
  context: AptContext,
): Promise<Deb[]> {
  return await withArchive(context, async (archive) => {
    const found: Found[] = [];
    for (const one of wanted) found.push(await find(archive, one, context));
    return await downloadFound(found, dir, context);
  });
}

export interface Closure {
  readonly packages: readonly string[];
  /** Packages that are left out although something depends on them. */
  readonly omit?: readonly string[];
}

/**
 * As `downloadDebs` from the host's own release, with everything that the packages depend on: of alternatives the
 * first, of a virtual package its first provider, unless another one is chosen already.
 */
export async function downloadClosure(wanted: Closure, dir: string, context: AptContext): Promise<Deb[]> {
  return await withArchive(context, async (archive) => {
    const index = await archive.open('stable');
    const names = await closureOf(wanted, async (level) => {
      return (await ask(index, ['depends', ...ONLY_DEPENDS, ...level], context)).stdout;
    });
    return await downloadFound(await newestOf(index, names, context), dir, context);
  });
}

/** Flags of `apt-cache depends`. */
const ONLY_DEPENDS = [
  '--no-recommends',
  '--no-suggests',
  '--no-conflicts',
  '--no-breaks',
  '--no-replaces',
  '--no-enhances',
];

/** What a package of the index depends on, each with its alternatives. */
export async function dependsOf(index: AptIndex, name: string, context: AptContext): Promise<string[][]> {
  return parseDepends((await ask(index, ['depends', ...ONLY_DEPENDS, name], context)).stdout);
}

/** The newest version of each of these packages in one index. */
export async function newestOf(
  index: AptIndex,
  names: readonly string[],
  context: AptContext,
): Promise<Found[]> {
  const versions = await versionsOf(index, names, context);
  return names.map((name) => {
    const version = versions.get(name)?.[0]?.version;
    if (version === undefined) throw noPackage(name, [`${index.suites.join(', ')}: not there`]);
    return { name, version, index };
  });
}

export interface Archive {
  readonly system: AptSystem;
  open(group: string): Promise<AptIndex>;
}

/** Runs `body`, and once more with fresh indexes when the archive does not have what the index names. */
export async function withArchive<T>(
  context: AptContext,
  body: (archive: Archive) => Promise<T>,
): Promise<T> {
  const system = await readAptSystem();
  try {
    return await body(archiveOf(system, false, context));
  } catch (error) {
    if (!(error instanceof LabError) || error.code !== 'sources/apt-download') throw error;
    return await body(archiveOf(system, true, context));
  }
}

function archiveOf(system: AptSystem, refresh: boolean, context: AptContext): Archive {
  const opened = new Map<string, Promise<AptIndex>>();
  return {
    system,
    open: (group) => {
      const suites = groupsFor(system.codename)[group] ?? groupsFor(group).stable ?? [group];
      const index = opened.get(group) ?? openIndex({ system, type: 'deb', suites, refresh }, context);
      opened.set(group, index);
      return index;
    },
  };
}

export interface Found {
  readonly name: string;
  readonly version: string;
  readonly index: AptIndex;
}

async function find(archive: Archive, wanted: DebWanted, context: AptContext): Promise<Found> {
  const { name, suite, minVersion } = wanted;
  const seen: string[] = [];
  for (const group of suite === undefined ? ['stable', 'backports', 'next'] : [suite]) {
    const index = await archive.open(group);
    const newest = (await versionsOf(index, [name], context)).get(name)?.[0];
    const enough = newest !== undefined && compareDebianVersions(newest.version, minVersion ?? '0~') >= 0;
    if (enough) return { name, version: newest.version, index };
    seen.push(`${index.suites.join(', ')}: ${newest?.version ?? 'not there'}`);
  }
  throw noPackage(minVersion === undefined ? name : `${name} of version ${minVersion} or newer`, seen);
}

export function noPackage(what: string, seen: readonly string[]): LabError {
  return new LabError({
    code: 'sources/no-package',
    blame: 'host',
    fact: `Debian has no package ${what}`,
    evidence: seen,
    next: 'check the apt sources of this host; a newer release of Debian may have it',
  });
}

export async function downloadFound(
  found: readonly Found[],
  dir: string,
  context: AptContext,
): Promise<Deb[]> {
  const files = new Map<string, { path: string; sha256: string }>();
  for (const index of new Set(found.map((one) => one.index))) {
    const packages = found.filter((one) => one.index === index).map((one) => `${one.name}=${one.version}`);
    for (const file of await downloadPackages(index, packages, dir, context)) {
      files.set(basename(file.path).split('_')[0] ?? '', file);
    }
  }
  return found.map(({ name, version }) => {
    const file = files.get(name);
    if (file === undefined) throw new TypeError(`apt-get printed no URI for ${name}`);
    return { name, version, ...file };
  });
}

/**
 * The packages and all they depend on, breadth first.
 *
 * @param depends prints what `apt-cache depends` prints for some packages.
 */
export async function closureOf(
  { packages, omit = [] }: Closure,
  depends: (names: readonly string[]) => Promise<string>,
): Promise<string[]> {
  const chosen = new Set(packages);
  for (let level = [...packages]; level.length > 0; ) {
    const before = new Set(chosen);
    for (const choices of parseDepends(await depends(level))) {
      if (choices.some((name) => chosen.has(name) || omit.includes(name))) continue;
      const [first] = choices;
      if (first !== undefined) chosen.add(first);
    }
    level = [...chosen].filter((name) => !before.has(name));
  }
  return [...chosen];
}

/** Each dependency as the packages that would satisfy it, in order of preference. */
export function parseDepends(text: string): string[][] {
  const groups: string[][] = [];
  let open = false;
  for (const line of text.split('\n')) {
    const [, bar, name] = /^ ([ |])(?:Pre)?Depends: (\S+)/.exec(line) ?? [];
    const provider = /^ {4}(\S+)$/.exec(line)?.[1];
    const last = groups.at(-1);
    if (name !== undefined) {
      const real = name.startsWith('<') ? [] : [name.replace(/:any$/, '')];
      if (open && last !== undefined) last.push(...real);
      else groups.push(real);
      open = bar === '|';
    } else if (provider !== undefined) last?.push(provider);
  }
  return groups.filter((choices) => choices.length > 0);
}
