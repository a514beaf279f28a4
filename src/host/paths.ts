import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { homedir, tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder that holds `package.json`, `patches/` and `vm/`, whether we run from sources or from `dist/`. */
export const packageRoot: string = (() => {
  const start = dirname(fileURLToPath(import.meta.url));
  for (let folder = start; folder !== '/'; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder;
  }
  throw new Error(`no package.json in ${start} or above it`);
})();

/** `$XDG_CACHE_HOME/lab`: downloads, artifacts by digest, work trees, locks. May be deleted at any time. */
export function cacheRoot(): string {
  const xdg = process.env.XDG_CACHE_HOME;
  return join(xdg?.startsWith('/') ? xdg : join(homedir(), '.cache'), 'lab');
}

/** `.lab` of the checkout: runs and machines. `LAB_STATE` names another folder. */
export function stateRoot(): string {
  return process.env.LAB_STATE ?? join(packageRoot, '.lab');
}

/**
 * A folder for unix sockets whose paths stay below the kernel's limit of 108 bytes: `preferred` when it is short
 * enough, otherwise one in the runtime or temporary folder that is derived from it. Created with mode 0700.
 */
export async function socketFolder(preferred: string): Promise<string> {
  const short = preferred.length <= 80 ? preferred : join(runtimeRoot(), digestOf(preferred));
  await mkdir(short, { recursive: true, mode: 0o700 });
  return short;
}

function runtimeRoot(): string {
  return process.env.XDG_RUNTIME_DIR ?? join(tmpdir(), `lab-${userInfo().uid}`);
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
