import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { LabError } from '../errors.js';
import { packageRoot } from '../host/paths.js';
import type { AnyBlockDevice } from './device.js';

/**
 * Loads a device from a TypeScript or JavaScript file, whose default export, or only export, is a device, a class of
 * devices, or a function that returns one. The file is trusted: it runs in this process.
 *
 * @throws LabError `nbd/no-device` with what the file lacks, or the translator's or the file's own words.
 */
export async function loadDevice(path: string): Promise<AnyBlockDevice> {
  const code = await bundleDevice(path);
  const dir = await mkdtemp(join(await realpath(tmpdir()), 'lab-vblk-'));
  try {
    const file = join(dir, 'device.mjs');
    await writeFile(file, code);
    return await deviceOf(await import(pathToFileURL(file).href), path);
  } catch (error) {
    throw error instanceof LabError ? error : noDevice(path, error);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/**
 * One JavaScript module of a device's file and all that it imports; `lab/vblk` is this library.
 *
 * @throws LabError `nbd/no-device`.
 */
export async function bundleDevice(path: string): Promise<string> {
  const { build } = await import('esbuild');
  try {
    const { outputFiles } = await build({
      entryPoints: [resolve(path)],
      ...{ bundle: true, write: false, platform: 'node', format: 'esm', target: 'node20' },
      ...{ sourcemap: 'inline', logLevel: 'silent' },
      alias: { 'lab/vblk': join(packageRoot, 'src/nbd/vblk.ts') },
    });
    return outputFiles[0]?.text ?? '';
  } catch (error) {
    throw noDevice(path, error);
  }
}

/**
 * The device that a module stands for.
 *
 * @throws LabError `nbd/no-device`.
 */
export async function deviceOf(
  module: Readonly<Record<string, unknown>>,
  path: string,
): Promise<AnyBlockDevice> {
  const values = Object.values(module);
  const value = module.default ?? (values.length === 1 ? values[0] : undefined);
  const made = typeof value === 'function' ? await make(value) : value;
  const missing = ['blockSize', 'blocks', 'read'].filter(
    (name) => typeof (made as Record<string, unknown> | null | undefined)?.[name] !== 'function',
  );
  if (missing.length === 0) return made as AnyBlockDevice;
  const what =
    made === undefined ? 'it has no default export' : `what it exports has no ${missing.join('(), ')}()`;
  throw noDevice(path, new Error(what));
}

async function make(value: unknown): Promise<unknown> {
  const { prototype } = value as { prototype?: { read?: unknown } };
  if (typeof prototype?.read === 'function') return new (value as new () => unknown)();
  return await (value as () => unknown)();
}

function noDevice(path: string, cause: unknown): LabError {
  const message = cause instanceof Error ? cause.message : String(cause);
  return new LabError({
    code: 'nbd/no-device',
    blame: 'user',
    fact: `${path} holds no block device that can be served`,
    evidence: message.split('\n').slice(0, 12),
    next: 'let the file export as default a class, an object or a function with blockSize(), blocks() and read()',
    cause,
  });
}
