import { existsSync, readFileSync } from 'node:fs';
import { chmod, lstat, mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isAbort, LabError } from '../errors.js';
import { isConfined } from './confinement.js';
import { enterScript, openScript } from './enter.js';
import { makeControlGroup } from './limits.js';
import type { Extraction, Jail } from './spec.js';
import { makeStage } from './stage.js';
import { isHostRoot } from './who.js';

/** How far a jail has come. */
export interface JailStatus {
  /** Times that a command began inside: all of our own set-up had succeeded, whatever happened afterwards. */
  readonly begun: number;
  /** Exit code of the copying that an `Extraction` asked for; 128 + n when it died by signal n. */
  readonly extracted?: number;
}

/** A jail that a command can be started in, one at a time. */
export interface OpenJail extends AsyncDisposable {
  /** Goes before the program and its arguments. */
  readonly prefix: readonly string[];
  /** Kept where the code inside cannot get at it. */
  status(): JailStatus;
  /** Whether processes of it were killed because the host has no memory left; known with control groups only. */
  starved(): boolean;
  /** Waits until all processes of it are gone, killing them if need be, and forgets it. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Prepares a jail: bubblewrap with all namespaces over a mount namespace of our own, in which we (and not the code
 * inside) mount the overlay and the few host files that it may see.
 *
 * Who runs as root gives the code inside a user id of its own: user id 0 of a user namespace would still be the
 * host's own 0 where the kernel asks for just that, as in /proc/sys. An ordinary user's code stays that user, whose
 * files are out of reach because they are not mounted.
 *
 * @throws LabError `sandbox/edit` (blame submission) when a file would be put behind a link.
 */
export async function openJail(jail: Jail, extraction?: Extraction): Promise<OpenJail> {
  await refuseLinks(jail);
  const stage = await makeStage('jail');
  await mkdir(join(stage, 'hall'));
  await writeFile(join(stage, 'status'), '', { mode: 0o600 });
  await chmod(stage, 0o711);
  const asRoot = isHostRoot();
  const confined = isConfined();
  const group = asRoot && confined ? await makeControlGroup(jail.limits) : undefined;
  const surroundings = { stage, asRoot, group, extraction };
  const script = confined ? enterScript(jail, surroundings) : openScript(jail, surroundings);
  const enter = join(stage, 'enter');
  await writeFile(enter, script, { mode: 0o600 });
  const namespaces = asRoot ? ['--mount'] : ['--user', '--map-root-user', '--mount'];
  return {
    prefix: [
      // what is in our environment could be read from bubblewrap's
      ...['/usr/bin/env', '-i', `PATH=${HOST_PATH}`],
      ...['unshare', ...namespaces, '--propagation', 'private', '--'],
      // a file, so that command lines in logs stay short; read as a whole, so that no descriptor of it stays open
      ...['/bin/bash', '-p', '-euc', '. "$0"', enter],
    ],
    status: () => parseStatus(readStatus(stage)),
    starved: () => group?.starved() ?? false,
    [Symbol.asyncDispose]: async () => {
      if (group?.starved()) starvedJails += 1;
      await group?.remove();
      await allGone(readStatus(stage));
      await rm(stage, { recursive: true, force: true });
    },
  };
}

let starvedJails = 0;

/**
 * Calls `judge`, and where the host ran out of memory meanwhile and killed what ran in a jail, does not believe a
 * verdict that is not `sound`: what was killed looks like a crash of the code inside.
 *
 * @throws LabError `sandbox/memory` (blame host).
 */
export async function withMemory<T>(
  judge: () => Promise<T>,
  isSound: (verdict: T) => boolean = () => false,
): Promise<T> {
  const before = starvedJails;
  const verdict = await judge();
  if (starvedJails > before && !isSound(verdict)) throw outOfMemory([]);
  return verdict;
}

/** The error of what was killed because the host has no memory left. */
export function outOfMemory(evidence: readonly string[], cause?: unknown): LabError {
  return new LabError({
    code: 'sandbox/memory',
    blame: 'host',
    fact: 'this host ran out of memory and killed what ran in the sandbox, which had not used up its own',
    evidence,
    next: 'end what else uses memory, or grade fewer at once (--jobs 1), then run the same command again',
    cause,
  });
}

const HOST_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * What is to be told when a command ended without ever having begun: the host's fault, not that of the code inside,
 * which did not run.
 */
export function setupFailed(evidence: readonly string[], cause?: unknown): LabError {
  return new LabError({
    code: 'sandbox/setup',
    blame: 'host',
    fact: 'the sandbox could not be set up, so nothing ran in it',
    evidence: evidence.slice(-20).map((line) => line.slice(0, 400)),
    next: 'see what `lab doctor` says about the sandbox, and whether memory and the disk of the temporary folder are full',
    cause,
  });
}

/** What the failure of a launch means: our own set-up's, when the command in the jail never began. */
export function orSetupFailed(error: unknown, jail: Pick<OpenJail, 'status'>): unknown {
  if (!(error instanceof LabError) || isAbort(error) || jail.status().begun > 0) return error;
  return setupFailed(error.evidence, error);
}

/** We write the edits with our own rights: a link in the tree must not lead them elsewhere. */
async function refuseLinks({ overlay }: Jail): Promise<void> {
  const { lower = '', edits } = overlay ?? {};
  const paths = [...(edits?.put.map(({ to }) => to) ?? []), ...(edits?.remove ?? [])];
  const folders = new Set<string>();
  for (const path of paths) {
    if (path.startsWith('/') || path.split('/').includes('..')) throw behindLink(path);
    for (let dir = dirname(path); dir !== '.'; dir = dirname(dir)) folders.add(dir);
  }
  for (const dir of folders) {
    const info = await lstat(join(lower, dir)).catch(() => undefined);
    if (info?.isSymbolicLink()) throw behindLink(dir);
  }
}

function behindLink(path: string): LabError {
  return new LabError({
    code: 'sandbox/edit',
    blame: 'submission',
    fact: `${path} is no folder of the source tree: it leads elsewhere`,
    next: 'add the files at their real place in the source tree',
  });
}

function readStatus(stage: string): string {
  const path = join(stage, 'status');
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

function parseStatus(text: string): JailStatus {
  const code = /^extracted (\d+)$/m.exec(text)?.[1];
  const begun = text.match(/^begun$/gm)?.length ?? 0;
  return code === undefined ? { begun } : { begun, extracted: Number(code) };
}

/** Longest wait for processes that have been killed already. */
const LAST_MOMENT = 5000;

/**
 * The first process of each process namespace is gone only after all others of it. bubblewrap has told its id; its
 * parent's end has killed it, of which nobody else is told.
 */
async function allGone(status: string): Promise<void> {
  const pids = [...status.matchAll(/"child-pid": (\d+)/g)].map(([, pid]) => pid);
  const alive = () => pids.some((pid) => pid !== undefined && isAlive(pid));
  const end = performance.now() + LAST_MOMENT;
  while (alive() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** A process that has ended but that nobody has asked about yet is a `Z`. */
function isAlive(pid: string): boolean {
  try {
    return !/^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
