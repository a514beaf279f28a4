import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FetchContext } from '../host/fetch.js';
import { cacheRoot, packageRoot } from '../host/paths.js';
import { run } from '../host/run.js';
import { type Deb, downloadClosure } from '../sources/debian.js';
import type { Prepared } from './recipe.js';
import { type Entry, readTree, type Tree } from './tree.js';

interface Selection {
  readonly packages: readonly string[];
  /** Dependencies that only package scripts or unused tools need. */
  readonly omit: readonly string[];
  /** Prefixes of paths that stay out of the image. */
  readonly leaveOut: readonly string[];
  /** Empty folders that package scripts would make. */
  readonly folders: readonly string[];
}

/**
 * Fetches what a Debian guest consists of, from where this host's own apt gets its packages. Needs neither root nor
 * namespaces: packages are only unpacked, their scripts never run.
 *
 * @throws LabError as `downloadClosure`.
 */
export async function prepareDebian(work: string, context: FetchContext): Promise<Prepared> {
  const selection = JSON.parse(await readFile(join(packageRoot, 'vm/debian.json'), 'utf8')) as Selection;
  const { packages, omit } = selection;
  const debs = await downloadClosure(
    { packages, omit },
    join(cacheRoot(), 'downloads/debian-guest'),
    context,
  );
  const sorted = [...debs].sort((a, b) => (a.name < b.name ? -1 : 1));
  const base = sorted.find(({ name }) => name === 'base-files')?.version ?? 'unknown';
  return {
    distro: 'debian',
    version: debianRelease(base),
    packages: sorted.map(({ name, version }) => ({ name, version })),
    origin: 'the apt sources of this host',
    files: Object.fromEntries(sorted.map(({ name, sha256 }) => [name, sha256])),
    notes: [],
    unpack: (log) => unpackDebs(sorted, selection, join(work, 'debian'), log, context),
  };
}

/** `12.4+deb12u12` of base-files is Debian 12.12. */
export function debianRelease(baseFiles: string): string {
  const [, major, first, point] = /^(\d+)(?:\.(\d+))?(?:\+deb\d+u(\d+))?/.exec(baseFiles) ?? [];
  return major === undefined
    ? baseFiles
    : [major, point ?? first].filter((part) => part !== undefined).join('.');
}

async function unpackDebs(
  debs: readonly Deb[],
  { leaveOut, folders }: Selection,
  to: string,
  log: string,
  { step, timeouts }: FetchContext,
): Promise<Tree> {
  await mkdir(to);
  const options = { log, signal: step.signal, timeout: timeouts.smallBuild };
  for (const [done, { path }] of debs.entries()) {
    step.progress(done, debs.length, 'steps');
    await run('dpkg-deb', ['-x', path, to], options);
  }
  const tree = mergeUsr(await readTree(to));
  for (const path of [...tree.keys()])
    if (leaveOut.some((prefix) => path.startsWith(prefix))) tree.delete(path);
  for (const path of folders) tree.set(path, { path, uid: 0, gid: 0, kind: 'directory', mode: 0o755 });
  const { stdout } = await run(join(to, 'bin/busybox'), ['--list-full'], {
    ...options,
    timeout: timeouts.hostTool,
  });
  addApplets(
    tree,
    stdout.split('\n').filter((line) => line !== ''),
  );
  return tree;
}

/**
 * The layout that a Debian system has: `/bin`, `/sbin` and `/lib*` are links into `/usr`. Packages of bookworm still
 * carry files on both sides; their installation would need links that are there first.
 */
export function mergeUsr(tree: Tree): Map<string, Entry> {
  const merged = new Map<string, Entry>();
  for (const folder of ['bin', 'sbin', 'lib', 'lib64']) {
    merged.set(`/${folder}`, { path: `/${folder}`, uid: 0, gid: 0, kind: 'link', target: `usr/${folder}` });
    merged.set(`/usr/${folder}`, { path: `/usr/${folder}`, uid: 0, gid: 0, kind: 'directory', mode: 0o755 });
  }
  for (const entry of tree.values()) {
    const path = entry.path.replace(/^\/(bin|sbin|lib|lib64)(?=\/|$)/, '/usr/$1');
    if (!merged.has(path)) merged.set(path, { ...entry, path });
  }
  return merged;
}

/** BusyBox stands in for every command that no package brought: init and the shell among them. */
export function addApplets(tree: Map<string, Entry>, applets: readonly string[]): void {
  const folders = ['/usr/bin', '/usr/sbin', '/usr/local/bin', '/usr/local/sbin'];
  for (const applet of applets) {
    const cut = applet.lastIndexOf('/') + 1;
    const name = applet.slice(cut);
    if (folders.some((folder) => tree.has(`${folder}/${name}`))) continue;
    const path = `${/sbin\/$/.test(applet.slice(0, cut)) ? '/usr/sbin' : '/usr/bin'}/${name}`;
    tree.set(path, { path, uid: 0, gid: 0, kind: 'link', target: '/bin/busybox' });
  }
}
