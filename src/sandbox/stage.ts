import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What a temporary folder of the sandbox is for. */
export type StageKind = 'jail' | 'out' | 'edits' | 'module';

/**
 * A temporary folder, mode 0700, named after this process. Whoever makes it removes it; those of processes that were
 * killed are removed by the next one that makes one.
 */
export async function makeStage(kind: StageKind): Promise<string> {
  swept ??= sweepFolders();
  await swept;
  return await mkdtemp(join(tmpdir(), `lab-${kind}-${owner()}-`));
}

let swept: Promise<void> | undefined;

/**
 * This process, as part of a name: id, start (ticks since the host's), process namespace. The three together are
 * never given again while the host is up.
 */
export function owner(): string {
  known ??= `${process.pid}.${startOf(process.pid)}.${namespace()}`;
  return known;
}

let known: string | undefined;

/** Whether `name` holds the `owner()` of a process of our namespace that has ended. */
export function isOrphan(name: string): boolean {
  const [, pid, start, space] = /^lab-(?:[a-z]+-)?(\d+)\.(\d+)\.(\d+)-/.exec(name) ?? [];
  return pid !== undefined && space === namespace() && startOf(Number(pid)) !== start;
}

async function sweepFolders(): Promise<void> {
  const names = (await readdir(tmpdir()).catch(() => [])).filter(isOrphan);
  // those of other users stay
  await Promise.all(
    names.map((name) => rm(join(tmpdir(), name), { recursive: true, force: true }).catch(() => {})),
  );
}

/** Folders of ended processes directly below `root`. */
export function orphansIn(root: string): string[] {
  try {
    return readdirSync(root).filter(isOrphan);
  } catch {
    return []; // no such hierarchy
  }
}

/** proc_pid_stat(5), field 22; the name before it may hold anything but ends with the last parenthesis. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

function namespace(): string {
  return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '';
}
