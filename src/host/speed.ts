import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { cacheRoot } from './paths.js';

/** Milliseconds that `workload()` takes on the host whose deadlines `timeouts.ts` holds. */
const REFERENCE = 40;

/**
 * How much slower this host is than the one the deadlines were measured on: 1 or less means as fast. Measured once
 * per CPU model (about a tenth of a second) and remembered. `LAB_TIME_SCALE` overrides it.
 */
export function hostScale(): number {
  const override = Number(process.env.LAB_TIME_SCALE);
  if (override > 0) return override;
  const model = cpus()[0]?.model ?? 'unknown';
  const file = join(cacheRoot(), 'probes', 'speed.json');
  const known = readKnown(file, model);
  if (known !== undefined) return known;
  const scale = Math.min(...[workload(), workload()]) / REFERENCE;
  mkdirSync(join(cacheRoot(), 'probes'), { recursive: true });
  writeFileSync(file, JSON.stringify({ model, scale }));
  return scale;
}

function readKnown(file: string, model: string): number | undefined {
  try {
    const known = JSON.parse(readFileSync(file, 'utf8')) as { model: string; scale: number };
    return known.model === model && known.scale > 0 ? known.scale : undefined;
  } catch {
    return undefined; // not measured yet
  }
}

/** Branches, memory and arithmetic in one thread, as an emulator does; the digest keeps it from being optimised away. */
function workload(): number {
  const started = performance.now();
  const table = new Uint32Array(1 << 18);
  let x = 0x12345678;
  for (let i = 0; i < 8_000_000; i += 1) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    const slot = x & (table.length - 1);
    table[slot] = ((table[slot] ?? 0) + x) >>> 0;
  }
  createHash('sha256').update(table).digest();
  return performance.now() - started;
}
