import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { readdirSync, readFileSync, statfsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { LabError } from '../errors.js';
import { cacheRoot } from '../host/paths.js';
import { run } from '../host/run.js';

/** Something that code outside of its sandbox did. */
export interface Trace {
  readonly kind: 'file' | 'network' | 'process' | 'output' | 'disk' | 'kernel';
  readonly what: string;
}

/** Watches this host while hostile hand-ins are graded. */
export interface Witness extends AsyncDisposable {
  /** Everything seen so far; `folders` are searched for what should not have been readable. */
  traces(folders: readonly string[]): Promise<Trace[]>;
}

/** The name of every file that a hostile fixture writes. */
const MARK = 'lab-escape-witness';

/** The ports that a hostile fixture tries. */
const PORTS = { from: 47100, to: 47163 } as const;

/** Grading needs a gigabyte at most at a time, and what it needs is in memory. */
const DISK = 3 * 1024 ** 3;

/**
 * Sets up all witnesses and proves of each that it sees what it is there for.
 *
 * @throws LabError `selftest/witness` when one is blind, or when traces of an earlier escape lie around.
 */
export async function openWitness(): Promise<Witness> {
  const old = marksOnDisk();
  if (old.length > 0) throw blind('traces of an earlier run lie around', old);
  const network = await watchNetwork();
  const processes = await watchProcesses();
  const secret = randomBytes(16).toString('hex');
  process.env.LAB_WITNESS_SECRET = secret;
  process.env.LAB_WITNESS_PID = String(processes.pid);
  const settings = kernelSettings();
  const disk = watchDisk();
  await proveFiles();
  return {
    traces: async (folders) => [
      ...marksOnDisk().map((path): Trace => ({ kind: 'file', what: path })),
      ...network.seen.map((what): Trace => ({ kind: 'network', what })),
      ...(await processes.seen()).map((what): Trace => ({ kind: 'process', what })),
      ...leftProcesses().map((what): Trace => ({ kind: 'process', what })),
      ...(await inFiles(folders, secret)).map((what): Trace => ({ kind: 'output', what })),
      ...disk.seen().map((what): Trace => ({ kind: 'disk', what })),
      ...changed(settings).map((what): Trace => ({ kind: 'kernel', what })),
    ],
    [Symbol.asyncDispose]: async () => {
      disk.stop();
      network.stop();
      await processes.stop();
      delete process.env.LAB_WITNESS_SECRET;
      delete process.env.LAB_WITNESS_PID;
    },
  };
}

function marksOnDisk(): string[] {
  const fixed = ['/', '/etc', '/home', '/opt', '/root', '/run', '/srv', '/usr/local/bin', '/var/tmp', '/tmp'];
  const mounts = ['/dev/shm', '/dev/mqueue', '/sys/fs/cgroup', '/proc/sys'];
  const own = [tmpdir(), homedir(), cacheRoot(), join(cacheRoot(), 'seeds'), ...upwards(process.cwd())];
  const work = children(join(cacheRoot(), 'work')).concat(children(join(cacheRoot(), 'seeds')));
  const builds = work.flatMap((dir) => [dir, join(dir, 'build'), join(dir, 'src')]);
  const places = new Set([...fixed, ...mounts, ...own, ...builds]);
  return [...places].flatMap((place) => children(place).filter((path) => path.includes(MARK)));
}

function upwards(path: string): string[] {
  return path === '/' ? ['/'] : [path, ...upwards(dirname(path))];
}

function children(folder: string): string[] {
  try {
    return readdirSync(folder).map((name) => join(folder, name));
  } catch {
    return []; // not there, or not ours to read: nobody of us writes there either
  }
}

async function proveFiles(): Promise<void> {
  const path = join(tmpdir(), MARK);
  await writeFile(path, '');
  const seen = marksOnDisk();
  await rm(path);
  if (!seen.includes(path)) throw blind('a file that was just written is not seen', [path]);
}

async function watchNetwork() {
  const seen: string[] = [];
  const close: (() => void)[] = [];
  for (let port = PORTS.from; port <= PORTS.to; port += 1) {
    const server = createServer((socket) => {
      seen.push(`a connection to port ${port}`);
      socket.destroy();
    });
    const udp = createSocket('udp4', () => seen.push(`a datagram to port ${port}`));
    udp.on('error', () => {}); // taken by somebody else: the other ports watch
    server.on('error', () => {});
    await new Promise<void>((resolve) => {
      server.once('error', () => resolve());
      server.listen(port, '127.0.0.1', resolve);
    });
    udp.bind(port, '127.0.0.1');
    close.push(
      () => server.close(),
      () => udp.close(),
    );
  }
  await new Promise<void>((resolve) => {
    const probe = connect(PORTS.from, '127.0.0.1');
    // the port may be somebody else's, who says nothing
    probe.setTimeout(2000, () => probe.destroy());
    probe.on('error', () => resolve());
    probe.on('close', () => resolve());
  });
  if (seen.length === 0) throw blind('a connection that was just made is not seen', [`port ${PORTS.from}`]);
  seen.length = 0;
  return {
    seen,
    stop: () => {
      for (const end of close) end();
    },
  };
}

/** A process of ours that notes every signal it gets; nobody has a reason to send it one. */
async function watchProcesses() {
  const dir = await mkdtemp(join(tmpdir(), 'lab-witness-'));
  const log = join(dir, 'signals');
  const over = new AbortController();
  const script = [
    'for s in USR1 USR2 WINCH TERM HUP INT; do trap "echo $s >> $1/signals" $s; done',
    ': > "$1/signals"; echo ready; while :; do sleep 1000 & wait $!; done',
  ].join('\n');
  let pid = 0;
  let ended = false;
  const ready = new Promise<void>((resolve) => {
    const options = { signal: over.signal, timeout: 2 ** 31 - 1, onLine: () => resolve() };
    void run('/bin/sh', ['-c', `echo $$ > "$1/pid"\n${script}`, 'witness', dir], options)
      .catch(() => {})
      .then(() => {
        ended = true;
        resolve();
      });
  });
  await ready;
  pid = Number(readFileSync(join(dir, 'pid'), 'utf8'));
  process.kill(pid, 'SIGUSR1');
  for (let tries = 0; tries < 200 && readFileSync(log, 'utf8') === ''; tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  if (!readFileSync(log, 'utf8').includes('USR1'))
    throw blind('a signal that was just sent is not seen', [log]);
  await writeFile(log, '');
  return {
    pid,
    seen: async () => [
      ...(await readFile(log, 'utf8'))
        .split('\n')
        .filter(Boolean)
        .map((name) => `signal ${name}`),
      ...(ended ? ['the witness process was killed'] : []),
    ],
    stop: async () => {
      over.abort();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Ids of jails begin here; see `src/sandbox/jail.ts`. */
const FIRST_JAIL_ID = 0x7000_0000;

function leftProcesses(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const status = readFileSync(`/proc/${pid}/status`, 'utf8');
        if (/^State:\s+[ZX]/m.test(status)) return []; // dead, and only its parent has not looked yet
        const uid = Number(/^Uid:\s+(\d+)/m.exec(status)?.[1]);
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').slice(0, 120);
        return uid >= FIRST_JAIL_ID ? [`process ${pid} is left: ${command}`] : [];
      } catch {
        return []; // it ended meanwhile
      }
    });
}

/**
 * What a hostile fixture says when it could read or reach something; its source says it with a `%`. Process 1 is the
 * jail's own, and what stands in its environment is looked for by the secret.
 */
const SAID = new RegExp(`${MARK}: (?:read /(?!proc/1/environ)|reached port \\d)`);

async function inFiles(folders: readonly string[], secret: string): Promise<string[]> {
  const found: string[] = [];
  for (const folder of folders) {
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      const text = await readFile(path, 'latin1');
      if (text.includes(secret)) found.push(`${path} holds a secret of the grader's environment`);
      const said = SAID.exec(text)?.[0];
      if (said !== undefined) found.push(`${path}: ${said}`);
    }
  }
  return found;
}

function watchDisk() {
  const places = [...new Set(['/', tmpdir(), cacheRoot(), '/dev/shm'])];
  const free = (place: string) => {
    const { bavail, bsize } = statfsSync(place);
    return bavail * bsize;
  };
  const before = new Map(places.map((place) => [place, free(place)]));
  const least = new Map(before);
  // there is no event for a disk that fills
  const timer = setInterval(() => {
    for (const place of places) least.set(place, Math.min(least.get(place) ?? 0, free(place)));
  }, 500);
  timer.unref();
  return {
    seen: () =>
      places
        .filter((place) => (before.get(place) ?? 0) - (least.get(place) ?? 0) > DISK)
        .map((place) => `the free space of ${place} fell by more than ${DISK} bytes`),
    stop: () => clearInterval(timer),
  };
}

const SETTINGS = ['core_pattern', 'modprobe', 'hotplug', 'hostname', 'panic', 'sysrq'];

function kernelSettings(): Map<string, string> {
  return new Map(SETTINGS.map((name) => [name, settingOf(name)]));
}

function settingOf(name: string): string {
  try {
    return readFileSync(`/proc/sys/kernel/${name}`, 'utf8');
  } catch {
    return ''; // not every kernel has them all
  }
}

function changed(before: ReadonlyMap<string, string>): string[] {
  return [...before]
    .filter(([name, value]) => settingOf(name) !== value)
    .map(([name]) => `/proc/sys/kernel/${name} was changed`);
}

function blind(fact: string, evidence: readonly string[]): LabError {
  return new LabError({
    code: 'selftest/witness',
    blame: 'host',
    fact: `a witness of the self-test cannot be trusted: ${fact}`,
    evidence,
    next: 'remove what the evidence names, and see that nothing else runs the self-test now',
  });
}
