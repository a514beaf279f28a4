import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { interrupted, LabError } from '../errors.js';

export interface LockOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called once, if somebody else holds the lock and we start to wait. */
  readonly onWait?: (() => void) | undefined;
}

/**
 * Runs `body` while holding an exclusive flock(2) on the file `path` (created if missing, never removed).
 *
 * The lock belongs to an open file description of this process: it is freed when the body ends and when the process
 * dies in any way, so there are no stale locks. Waiting blocks in the kernel, it does not poll.
 *
 * @throws LabError `interrupted`, `lock/tool` when flock(1) of util-linux cannot be run.
 */
export async function withLock<T>(path: string, options: LockOptions, body: () => Promise<T>): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  const handle = await open(path, 'a');
  try {
    if (!(await flock(handle.fd, ['-n', '-x'], undefined))) {
      options.onWait?.();
      await flock(handle.fd, ['-x'], options.signal);
    }
    return await body();
  } finally {
    await handle.close();
  }
}

/** flock(1) locks the description it inherits as fd 3; the lock stays with ours when the tool exits. */
function flock(fd: number, flags: string[], signal: AbortSignal | undefined): Promise<boolean> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(interrupted('waiting for a lock'));
    const child: ChildProcess = spawn('flock', [...flags, '3'], {
      stdio: ['ignore', 'ignore', 'ignore', fd],
    });
    const onAbort = () => child.kill('SIGKILL');
    signal?.addEventListener('abort', onAbort, { once: true });
    child.on('error', (cause) => reject(toolMissing(cause)));
    child.on('close', (code) => {
      signal?.removeEventListener('abort', onAbort);
      if (signal?.aborted) reject(interrupted('waiting for a lock'));
      else if (code === 0) resolve(true);
      else if (flags.includes('-n')) resolve(false);
      else reject(toolMissing(`exit code ${code}`));
    });
  });
}

function toolMissing(cause: unknown): LabError {
  return new LabError({
    code: 'lock/tool',
    blame: 'host',
    fact: 'flock(1) could not lock a file',
    evidence: [String(cause)],
    next: 'install util-linux, and put the cache on a local file system',
    cause,
  });
}
