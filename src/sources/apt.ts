import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError } from '../errors.js';
import type { Step } from '../events.js';
import { withLock } from '../host/lock.js';
import { cacheRoot } from '../host/paths.js';
import { type RunResult, run } from '../host/run.js';
import { digestFile } from '../host/store.js';
import type { Timeouts } from '../timeouts.js';
import { type AptEntry, entriesFor, parseDeb822, parseOneLine, stanzaFor } from './apt-sources.js';
import { compareDebianVersions } from './debian-version.js';

export interface AptContext {
  readonly step: Step;
  readonly timeouts: Timeouts;
}

/** What the host's apt is set up with. */
export interface AptSystem {
  /** Of the host's release, e.g. `bookworm`. */
  readonly codename: string;
  readonly entries: readonly AptEntry[];
}

/** The index of some suites, in an apt state of our own: nothing of the system's is read or written by it. */
export interface AptIndex {
  readonly system: AptSystem;
  readonly type: 'deb' | 'deb-src';
  readonly suites: readonly string[];
  readonly folder: string;
}

/** A file of a package, as the signed index describes it. */
interface AptFile {
  readonly name: string;
  readonly bytes: number;
}

const DAY = 24 * 3600 * 1000;

/**
 * The host's own apt sources and release.
 *
 * @param root where `etc` is; `/` but for tests.
 * @throws LabError `sources/no-apt` when this is not a Debian with sources.
 */
export async function readAptSystem(root = '/'): Promise<AptSystem> {
  const release = await readFile(join(root, 'etc/os-release'), 'utf8').catch(() => '');
  const codename = /^VERSION_CODENAME="?([a-z]+)/m.exec(release)?.[1];
  const entries = await readEntries(join(root, 'etc/apt'));
  const known = codename === undefined ? [] : entriesFor(entries, codename, codename);
  if (codename === undefined || known.length === 0) throw noApt(codename);
  return { codename, entries };
}

async function readEntries(etc: string): Promise<AptEntry[]> {
  const parts = await readdir(join(etc, 'sources.list.d')).catch(() => []);
  const files = ['sources.list', ...parts.sort().map((name) => join('sources.list.d', name))];
  const entries: AptEntry[] = [];
  for (const file of files) {
    const text = await readFile(join(etc, file), 'utf8').catch(() => '');
    if (file.endsWith('.list')) entries.push(...parseOneLine(text));
    else if (file.endsWith('.sources')) entries.push(...parseDeb822(text));
  }
  return entries;
}

/**
 * The index of these suites together, refreshed when it is older than a day or `refresh` is set. A suite that does
 * not exist is left out of it. apt checks the archive's signatures as always.
 *
 * @throws LabError `sources/apt-update` when none of the suites could be had.
 */
export async function openIndex(
  request: Pick<AptIndex, 'system' | 'type' | 'suites'> & { readonly refresh?: boolean },
  context: AptContext,
): Promise<AptIndex> {
  const { system, type, suites } = request;
  const folder = join(cacheRoot(), 'apt', `${type}-${suites.join('+')}`);
  const index = { system, type, suites, folder };
  const { signal } = context.step;
  return await withLock(join(folder, 'lock'), { signal }, async () => {
    if (request.refresh === true || !(await isFresh(index))) await update(index, context);
    return index;
  });
}

async function isFresh({ folder }: AptIndex): Promise<boolean> {
  const found = await stat(join(folder, 'refreshed')).catch(() => undefined);
  return found !== undefined && Math.abs(Date.now() - found.mtimeMs) < DAY;
}

async function update(index: AptIndex, context: AptContext): Promise<void> {
  const { folder } = index;
  for (const part of ['lists/partial', 'cache/archives/partial']) {
    await mkdir(join(folder, part), { recursive: true });
  }
  const { system, suites, type } = index;
  const stanzas = suites.flatMap((suite) =>
    entriesFor(system.entries, suite, system.codename).map((entry) => stanzaFor(entry, type, suite)),
  );
  await writeFile(join(folder, 'lab.sources'), stanzas.join('\n'));
  await writeFile(join(folder, 'status'), '');
  await writeFile(join(folder, 'apt.conf'), await privateConfig(folder, context));
  // 100 stands for any failure, also of one suite among several; what arrived is what counts.
  const timeout = context.timeouts.aptUpdate;
  const result = await apt(index, 'apt-get', ['update'], context, { timeout, accept: [0, 100] });
  const lists = await readdir(join(folder, 'lists'));
  if (!lists.some((name) => /_(Packages|Sources)(\.|$)/.test(name))) throw updateFailed(index, result);
  if (result.exitCode === 0 || suites.length > 1) await writeFile(join(folder, 'refreshed'), '');
}

/**
 * The system's configuration (proxies, credentials, checks) with our folders, and without its hooks: those would act
 * on the system.
 */
async function privateConfig(folder: string, context: AptContext): Promise<string> {
  const { step, timeouts } = context;
  const options = { signal: step.signal, timeout: timeouts.hostTool };
  const { stdout } = await run('apt-config', ['dump'], options);
  const kept = stdout.split('\n').filter((line) => !/^(APT::Update::|DPkg)/i.test(line));
  const own = {
    'Dir::Etc::Parts': '/dev/null',
    'Dir::Etc::main': '/dev/null',
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::Etc::sourcelist': join(folder, 'lab.sources'),
    'Dir::Etc::preferences': '/dev/null',
    'Dir::Etc::preferencesparts': '/dev/null',
    'Dir::State': folder,
    'Dir::State::lists': join(folder, 'lists'),
    'Dir::State::status': join(folder, 'status'),
    'Dir::Cache': join(folder, 'cache'),
    'Dir::Cache::pkgcache': 'pkgcache.bin',
    'Dir::Cache::srcpkgcache': '',
    // The folders are ours, so apt's own user could not write to them.
    'APT::Sandbox::User': 'root',
    'APT::Install-Recommends': '0',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '2',
    'Acquire::http::Timeout': String(Math.ceil(timeouts.fetchIdle / 1000)),
    'Acquire::https::Timeout': String(Math.ceil(timeouts.fetchIdle / 1000)),
  };
  return [...kept, ...Object.entries(own).map(([name, value]) => `${name} "${value}";`), ''].join('\n');
}

interface AptCall {
  readonly timeout: number;
  readonly accept?: readonly number[];
  readonly cwd?: string;
  readonly onLine?: (line: string) => void;
}

function apt(
  index: AptIndex,
  tool: 'apt-get' | 'apt-cache',
  args: readonly string[],
  { step }: AptContext,
  call: AptCall,
): Promise<RunResult> {
  const env = { APT_CONFIG: join(index.folder, 'apt.conf'), LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  return run(tool, args, { ...call, env, signal: step.signal });
}

export interface AptVersion {
  readonly version: string;
  readonly suite: string;
}

/** For each package that the index has, its versions, newest first. */
export async function versionsOf(
  index: AptIndex,
  names: readonly string[],
  context: AptContext,
): Promise<Map<string, AptVersion[]>> {
  const { stdout } = await ask(index, ['madison', ...names], context);
  return parseMadison(stdout, index.type);
}

/** Rows of `apt-cache madison`: `name | version | uri suite/component … Packages|Sources`. */
export function parseMadison(text: string, type: AptIndex['type']): Map<string, AptVersion[]> {
  const kind = type === 'deb-src' ? 'Sources' : 'Packages';
  const all = new Map<string, AptVersion[]>();
  for (const line of text.split('\n')) {
    const [name = '', version, where = ''] = line.split('|').map((cell) => cell.trim());
    if (version === undefined || !where.endsWith(kind)) continue;
    const versions = all.get(name) ?? [];
    all.set(name, versions);
    const suite = (where.split(' ')[1] ?? '').replace(/\/[^/]*$/, '');
    if (versions.every((other) => other.version !== version)) versions.push({ version, suite });
  }
  for (const versions of all.values()) versions.sort((x, y) => compareDebianVersions(y.version, x.version));
  return all;
}

/** Names of the binary packages in the index that begin with `prefix`. */
export async function namesWith(index: AptIndex, prefix: string, context: AptContext): Promise<string[]> {
  const { stdout } = await ask(index, ['pkgnames', prefix], context);
  return stdout.split('\n').filter((name) => name !== '');
}

/** `apt-cache` with these arguments; an unknown package is an empty answer. */
export function ask(index: AptIndex, args: readonly string[], context: AptContext): Promise<RunResult> {
  return apt(index, 'apt-cache', args, context, { timeout: context.timeouts.hostTool, accept: [0, 100] });
}

/**
 * Downloads packages into the folder `to`, given as `name=version`: `.deb` files from a binary index, the files of the
 * source package from a source index. apt checks their digests against the signed index.
 *
 * @returns paths in the order of the packages (and, of a source package, of its files), with their sha256.
 * @throws LabError `sources/apt-download`, when the archive no longer has what its index names, for one.
 */
export async function downloadPackages(
  index: AptIndex,
  packages: readonly string[],
  to: string,
  context: AptContext,
): Promise<{ path: string; sha256: string }[]> {
  const verb = index.type === 'deb' ? ['download'] : ['source', '--download-only'];
  await mkdir(to, { recursive: true });
  try {
    const files = await filesOf(index, [...verb, ...packages], context);
    const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
    const onLine = (line: string) => {
      const percent = /^dlstatus:\d+:([\d.]+):/.exec(line)?.[1];
      if (percent !== undefined) context.step.progress((Number(percent) / 100) * total, total, 'bytes');
    };
    const args = ['-q', '-o', 'APT::Status-Fd=1', ...verb, ...packages];
    await apt(index, 'apt-get', args, context, { timeout: context.timeouts.aptDownload, cwd: to, onLine });
    const paths = files.map(({ name }) => join(to, name));
    return await Promise.all(paths.map(async (path) => ({ path, sha256: await digestFile(path) })));
  } catch (cause) {
    if (!(cause instanceof LabError) || !cause.code.startsWith('run/')) throw cause;
    throw downloadFailed(index, packages, cause);
  }
}

async function filesOf(index: AptIndex, verb: readonly string[], context: AptContext): Promise<AptFile[]> {
  const timeout = context.timeouts.hostTool;
  // apt-get leaves out files that are in the current folder already.
  const cwd = join(index.folder, 'empty');
  await mkdir(cwd, { recursive: true });
  const { stdout } = await apt(index, 'apt-get', ['-q', '--print-uris', ...verb], context, { timeout, cwd });
  return [...stdout.matchAll(/^'[^']+' (\S+) (\d+) /gm)].map(([, name = '', bytes]) => ({
    name,
    bytes: Number(bytes),
  }));
}

function noApt(codename: string | undefined): LabError {
  return new LabError({
    code: 'sources/no-apt',
    blame: 'host',
    fact: 'this host has no apt sources of a Debian release, so Debian packages cannot be had',
    evidence: [`release: ${codename ?? 'unknown'}`],
    next: 'name a source tree or tarball by its path, or a mirror',
  });
}

function updateFailed({ suites }: AptIndex, { stdout, stderr }: RunResult): LabError {
  const said = `${stdout}\n${stderr}`.split('\n').filter((line) => /^(E:|W:|Err:| {2}\S)/.test(line));
  return new LabError({
    code: 'sources/apt-update',
    blame: 'host',
    fact: `no index of Debian's ${suites.join(', ')} could be had`,
    evidence: said.slice(-8),
    next: 'check that `apt-get update` works on this host',
  });
}

function downloadFailed(index: AptIndex, packages: readonly string[], cause: LabError): LabError {
  return new LabError({
    code: 'sources/apt-download',
    blame: 'host',
    fact: `${packages.join(' ')} could not be downloaded from Debian's ${index.suites.join(', ')}`,
    evidence: cause.evidence.filter((line) => !line.startsWith('dlstatus:')),
    next: 'try again later: a mirror may be behind its own index',
    cause,
  });
}
