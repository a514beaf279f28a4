import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { orphansIn, owner } from './stage.js';

/** What code in a jail may use; bytes, counts, seconds. */
export interface JailLimits {
  /** Of all processes together where control groups can be used, else of each. */
  readonly memory: number;
  readonly processes: number;
  /** Of one file. */
  readonly fileSize: number;
  /** Of everything written into the overlay. */
  readonly scratch: number;
  /** Of /tmp. */
  readonly tmp: number;
  /** Of one process. */
  readonly cpuSeconds: number;
}

const MIB = 1024 ** 2;

/** For compilers and linkers. */
export const buildLimits: JailLimits = {
  memory: 3072 * MIB,
  processes: 256,
  fileSize: 512 * MIB,
  scratch: 1536 * MIB,
  tmp: 256 * MIB,
  cpuSeconds: 600,
};

/** For a QEMU with a guest of 1 GiB. Its threads count as processes. */
export const machineLimits: JailLimits = {
  memory: 2560 * MIB,
  processes: 128,
  fileSize: 512 * MIB,
  scratch: 16 * MIB,
  tmp: 64 * MIB,
  cpuSeconds: 600,
};

/** A control group of one jail. */
export interface ControlGroup {
  /** A process that writes its id here belongs to the group. */
  readonly joinFiles: readonly string[];
  /** Whether the kernel killed processes of the group for memory that it never used up: the host had no more. */
  starved(): boolean;
  /** Succeeds once all its processes are gone. */
  remove(): Promise<void>;
}

/**
 * A control group with these limits, by version 2 or 1, whichever lets us; `undefined` where we may not make one, as
 * an ordinary user seldom may.
 */
export async function makeControlGroup(limits: JailLimits): Promise<ControlGroup | undefined> {
  const name = `lab-${owner()}-${randomBytes(6).toString('hex')}`;
  for (const settings of [unified(limits), separate(limits)]) {
    if (![...settings.keys()].every((root) => existsSync(join(root, 'cgroup.procs')))) continue;
    for (const root of settings.keys()) await sweep(root);
    const made = await tryMake(name, settings);
    if (made !== undefined) return made;
  }
  return undefined;
}

/** Hierarchy → values; the first of each has to be accepted. */
type Settings = ReadonlyMap<string, readonly (readonly [file: string, value: string])[]>;

/** https://docs.kernel.org/admin-guide/cgroup-v2.html */
function unified({ memory, processes }: JailLimits): Settings {
  return new Map([
    [
      '/sys/fs/cgroup',
      [
        ['memory.max', String(memory)],
        ['pids.max', String(processes)],
        ['memory.swap.max', '0'],
      ],
    ],
  ]);
}

/** https://docs.kernel.org/admin-guide/cgroup-v1/ */
function separate({ memory, processes }: JailLimits): Settings {
  return new Map([
    [
      '/sys/fs/cgroup/memory',
      [
        ['memory.limit_in_bytes', String(memory)],
        ['memory.memsw.limit_in_bytes', String(memory)],
      ],
    ],
    ['/sys/fs/cgroup/pids', [['pids.max', String(processes)]]],
  ]);
}

/** Groups of our processes that were killed before they could remove them. */
async function sweep(root: string): Promise<void> {
  if (swept.has(root)) return;
  swept.add(root);
  for (const name of orphansIn(root)) await removeGroup(join(root, name));
}

const swept = new Set<string>();

async function tryMake(name: string, settings: Settings): Promise<ControlGroup | undefined> {
  const dirs: string[] = [];
  const group = {
    joinFiles: [...settings.keys()].map((root) => join(root, name, 'cgroup.procs')),
    starved: () => dirs.some(isStarved),
    remove: async () => {
      for (const dir of dirs) await removeGroup(dir);
    },
  };
  for (const [root, values] of settings) {
    const dir = join(root, name);
    const [required] = values;
    try {
      await mkdir(dir);
      dirs.push(dir);
      if (required === undefined || !existsSync(join(dir, required[0])))
        throw new Error('no such controller');
      for (const [file, value] of values) {
        // accounting of swap may be off
        if (existsSync(join(dir, file))) await writeFile(join(dir, file), value);
      }
    } catch {
      await group.remove(); // not mounted, not ours to use, or another version: the caller tries the next
      return undefined;
    }
  }
  return group;
}

/** What may be charged at once, so that a group is at its limit somewhat below it; bytes. */
const CHARGE = MIB;

function isStarved(dir: string): boolean {
  const number = (file: string, pattern: RegExp) => {
    const path = join(dir, file);
    return existsSync(path) ? Number(pattern.exec(readFileSync(path, 'utf8'))?.[1] ?? 0) : undefined;
  };
  const value = (file: string) => number(file, /^(\d+)$/m) ?? 0;
  const events = number('memory.events', /^oom_kill (\d+)$/m);
  if (events !== undefined) return events > 0 && number('memory.events', /^oom (\d+)$/m) === 0;
  // version 1; its `failcnt` does not count where swap is accounted for as well
  const killed = number('memory.oom_control', /^oom_kill (\d+)$/m) ?? 0;
  return killed > 0 && value('memory.max_usage_in_bytes') + CHARGE < value('memory.limit_in_bytes');
}

/** The kernel lets go of a group a moment after its last process, which it tells nobody; killing it again is harmless. */
async function removeGroup(dir: string): Promise<void> {
  const end = performance.now() + LAST_MOMENT;
  while (performance.now() < end) {
    try {
      await rmdir(dir);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY') return;
      killAll(dir);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}

/** Longest wait for processes that have been killed already. */
const LAST_MOMENT = 5000;

function killAll(dir: string): void {
  for (const pid of readFileSync(join(dir, 'cgroup.procs'), 'utf8').split('\n').map(Number)) {
    try {
      if (pid > 1) process.kill(pid, 'SIGKILL');
    } catch {
      // it is gone
    }
  }
}
