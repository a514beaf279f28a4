import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isAbort, LabError } from '../errors.js';
import { fetchBytes } from '../host/fetch.js';
import { cacheRoot, packageRoot } from '../host/paths.js';
import type { Timeouts } from '../timeouts.js';
import type { PinnedKey } from './releases.js';
import { fingerprintsIn, type Trust } from './signature.js';

export interface KeyContext {
  readonly signal: AbortSignal;
  readonly timeouts: Timeouts;
}

/**
 * Key material for the pins: from `vm/keys` of the checkout, the user's `$XDG_CONFIG_HOME/lab/keys`, what an earlier
 * call kept, and otherwise from where the owner publishes it. Only the pinned fingerprint makes a key count, so it
 * does not matter which of these it comes from.
 *
 * @throws LabError `sources/no-key` when none of the pinned keys can be had; `interrupted`.
 */
export async function trustFor(pins: readonly PinnedKey[], context: KeyContext): Promise<Trust> {
  const material = await localMaterial(pins);
  if (material.length > 0) return { material, pins };
  const evidence: string[] = [];
  for (const pin of pins) {
    const key = await publishedKey(pin, context, evidence);
    if (key !== undefined) return { material: [key], pins };
  }
  throw new LabError({
    code: 'sources/no-key',
    blame: 'host',
    fact: 'no public key could be had to check a signature with',
    evidence: [...pins.map((pin) => `wanted: ${pin.fingerprint} (${pin.owner})`), ...evidence],
    next: `put the key, exported with gpg --armor --export, into ${userKeys()}`,
  });
}

async function localMaterial(pins: readonly PinnedKey[]): Promise<Uint8Array[]> {
  const material: Uint8Array[] = [];
  for (const folder of [join(packageRoot, 'vm', 'keys'), userKeys(), keptKeys()]) {
    for (const name of await readdir(folder).catch(() => [])) {
      const bytes = await readFile(join(folder, name)).catch(() => undefined);
      if (bytes !== undefined && (await holdsOne(bytes, pins))) material.push(bytes);
    }
  }
  return material;
}

function userKeys(): string {
  const xdg = process.env.XDG_CONFIG_HOME;
  return join(xdg?.startsWith('/') ? xdg : join(homedir(), '.config'), 'lab', 'keys');
}

function keptKeys(): string {
  return join(cacheRoot(), 'keys');
}

async function holdsOne(material: Uint8Array, pins: readonly PinnedKey[]): Promise<boolean> {
  const found = await fingerprintsIn(material);
  return pins.some((pin) => found.includes(pin.fingerprint));
}

/** Adds to `evidence` why an address gave nothing. */
async function publishedKey(
  pin: PinnedKey,
  context: KeyContext,
  evidence: string[],
): Promise<Uint8Array | undefined> {
  for (const url of pin.urls) {
    try {
      const key = await fetchBytes(url, context);
      if (await holdsOne(key, [pin])) return await keep(pin, key);
      const found = await fingerprintsIn(key);
      evidence.push(`${url}: ${found.length === 0 ? 'no key' : `another key, ${found.join(', ')}`}`);
    } catch (error) {
      if (isAbort(error) || !(error instanceof LabError)) throw error;
      evidence.push(...error.evidence);
    }
  }
  return undefined;
}

async function keep(pin: PinnedKey, key: Uint8Array): Promise<Uint8Array> {
  const path = join(keptKeys(), pin.fingerprint);
  await mkdir(keptKeys(), { recursive: true });
  await writeFile(`${path}.${process.pid}.part`, key);
  await rename(`${path}.${process.pid}.part`, path);
  return key;
}
