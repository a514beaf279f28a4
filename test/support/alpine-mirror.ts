import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/host/paths.js';
import { type Mirror, startMirror } from './http-mirror.js';

/** Real Alpine packages beside the checkout, laid out as a mirror is; not part of the project. */
const folder = join(packageRoot, '../shared/alpine');

/** Why tests on real Alpine packages cannot run here, if they cannot. */
export function alpineMissing(): string | undefined {
  try {
    readdirSync(join(folder, 'v3.19/main/x86_64'));
    return undefined;
  } catch {
    return `there are no Alpine packages in ${folder}`;
  }
}

/** A loopback mirror with those packages. */
export async function startAlpineMirror(): Promise<Mirror> {
  const mirror = await startMirror();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    mirror.serve(path.slice(folder.length), readFileSync(path));
  }
  return mirror;
}
