import { mkdir, rename, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Diagnostic } from '../build/diagnostics.js';
import { mesonFor } from '../build/meson.js';
import type { Seed } from '../build/seed.js';
import { readTreeFile } from '../build/tree.js';
import { keepWarnings, readWarnings } from '../build/warnings.js';
import type { BuildContext } from '../build/worktree.js';
import { LabError } from '../errors.js';
import { getOrMake } from '../host/store.js';
import type { QemuInstallation } from '../machine/spec.js';
import { buildOnSeed, chargeSubmission, digestSubmitted, type SubmittedFiles } from './submitted.js';
import { addedSymbols } from './symbols.js';

/** QEMU with a submission's device in it. Only to be run in a jail. */
export interface SubmittedQemu extends QemuInstallation {
  readonly warnings: readonly Diagnostic[];
  readonly digest: string;
  readonly dir: string;
  /** False when the same files were built before. */
  readonly fresh: boolean;
}

/** Changes when this file builds something else from the same inputs. */
const RECIPE = 1;

/**
 * Builds QEMU with a submission's files in a jail; `reference` supplies the firmware.
 *
 * @throws LabError as `buildOnSeed`.
 */
export async function buildSubmittedQemu(
  { seed, files, reference }: { seed: Seed; files: SubmittedFiles; reference: QemuInstallation },
  context: BuildContext,
): Promise<SubmittedQemu> {
  const meson = await mesonFor(join(seed.dir, 'src'), context);
  const modules = meson.PYTHONPATH === undefined ? {} : { PYTHONPATH: meson.PYTHONPATH };
  const artifact = await getOrMake({
    kind: 'submitted-qemu',
    inputs: { recipe: RECIPE, seed: seed.digest, files: digestSubmitted(files) },
    signal: context.step.signal,
    make: async (dir, log) => {
      const out = join(dir, 'out');
      await mkdir(out);
      const warnings = await buildOnSeed(
        {
          what: `QEMU ${seed.version}`,
          seed,
          files,
          script: await script(seed, files),
          env: modules,
          readOnly: Object.values(modules).map((from) => ({ from })),
          extract: { paths: [`build/${BINARY}`], to: out },
          log,
          timeout: context.timeouts.submittedBuild,
        },
        context,
      ).catch((error) => Promise.reject(chargeSubmission(error)));
      await mkdir(join(dir, 'bin'));
      await rename(join(out, 'build', BINARY), join(dir, 'bin', BINARY)).catch(() =>
        Promise.reject(nothingBuilt()),
      );
      await rm(out, { recursive: true });
      await keepWarnings(dir, warnings);
    },
  });
  return {
    ...artifact,
    binary: join(artifact.dir, 'bin', BINARY),
    version: seed.version,
    dataDirs: reference.dataDirs,
    warnings: await readWarnings(artifact.dir),
  };
}

const BINARY = 'qemu-system-x86_64';

/**
 * A new Kconfig symbol changes a header that a thousand files include. If nothing in it changed but symbols of the
 * submission and of the seed, which no other file can know, it keeps its old time, and those files their objects.
 */
async function script(seed: Seed, files: SubmittedFiles): Promise<string> {
  const own = await ownSymbols(seed, files);
  const known = own.map((name) => `CONFIG_${name}`).join('|');
  return [
    'for f in *-config-devices.h; do cp -p "$f" /tmp; done',
    'ninja build.ninja',
    'for f in *-config-devices.h; do',
    '  [ "$f" -nt "/tmp/$f" ] || continue',
    `  diff "/tmp/$f" "$f" | grep '^[<>]' | grep -qvE '^[<>] (#define (${known || 'none'}) .*)?$' || touch -r "/tmp/$f" "$f"`,
    'done',
    `exec ninja -j${availableParallelism()} ${BINARY}`,
  ].join('\n');
}

async function ownSymbols(seed: Seed, files: SubmittedFiles): Promise<string[]> {
  const seeded = {
    paths: seed.contributed,
    read: async (path: string) => (await readTreeFile(join(seed.dir, 'src'), path))?.data,
  };
  const wanted = { paths: [...files.keys()], read: async (path: string) => files.get(path)?.data };
  return [...(await addedSymbols(seed, seeded)), ...(await addedSymbols(seed, wanted))];
}

function nothingBuilt(): LabError {
  return new LabError({
    code: 'build/failed',
    blame: 'submission',
    fact: 'the build of QEMU ended without an error and without a QEMU',
    next: 'do not change what the build makes: only add your device to it',
  });
}
