import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { LabError } from '../errors.js';
import { packageRoot } from '../host/paths.js';
import type { AnyBlockDevice } from './device.js';
import { deviceOf, noDevice } from './device-of.js';

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
