import { join } from 'node:path';
import { buildLinux, type Linux } from '../../../build/linux.js';
import { buildModule, type KernelModule } from '../../../build/module.js';
import { buildProgram, type Program } from '../../../build/programs.js';
import { buildQemu, type Qemu } from '../../../build/qemu.js';
import { type Seed, seedLinux, seedQemu } from '../../../build/seed.js';
import { runStep, type Step, type StepContext } from '../../../events.js';
import { ownDigest } from '../../../grade/own-digest.js';
import { packageRoot } from '../../../host/paths.js';
import { digestJson } from '../../../host/store.js';
import { type GuestImage, resolveImage } from '../../../image/resolve.js';
import { type PrepareOptions, prepareSteps, sourceRequest } from '../../../lab/prepare.js';
import { requireSandbox } from '../../../sandbox/probe.js';
import { resolveSource } from '../../../sources/resolve.js';
import type { ResolvedSource } from '../../../sources/source.js';
import type { Timeouts } from '../../../timeouts.js';

/** What grading `my-rng` stands on: our own builds, and seeds for those of the submissions. */
export interface Foundation {
  readonly sources: { readonly qemu: ResolvedSource; readonly linux: ResolvedSource };
  /** With the reference device, which is keyed on demand. */
  readonly qemu: Qemu;
  readonly qemuSeed: Seed;
  /** Without any driver of this lab. */
  readonly linux: Linux;
  readonly linuxSeed: Seed;
  /** The reference driver for `linux`. */
  readonly module: KernelModule;
  readonly probe: Program;
  readonly image: GuestImage;
  /** Changes when the same submission could get another verdict. */
  readonly digest: string;
}

/** The steps of `layFoundation`. */
export const foundationSteps = {
  sandbox: 'Sandbox',
  qemuSource: prepareSteps.qemuSource,
  linuxSource: prepareSteps.linuxSource,
  qemu: prepareSteps.qemu,
  linux: prepareSteps.linux,
  seeds: 'Seeds for submissions',
  programs: prepareSteps.programs,
  image: prepareSteps.image,
} as const;

/** Builds, or finds in the cache, everything that submissions are judged with. */
export async function layFoundation(
  options: PrepareOptions,
  context: StepContext,
  timeouts: Timeouts,
): Promise<Foundation> {
  const { lab } = options;
  const step = <T>(id: keyof typeof foundationSteps, body: (step: Step) => Promise<T>) =>
    runStep(context, id, foundationSteps[id], async (s) => ({ value: await body(s) }));
  await step('sandbox', (s) => requireSandbox({ signal: s.signal, timeouts }));
  const qemuSource = step('qemuSource', (s) =>
    resolveSource(sourceRequest('qemu', options), { step: s, timeouts }),
  );
  const linuxSource = step('linuxSource', (s) =>
    resolveSource(sourceRequest('linux', options), { step: s, timeouts }),
  );
  const sources = { qemu: await qemuSource, linux: await linuxSource };
  const builtIn = lab.variants['built-in'];
  if (builtIn === undefined || lab.skeleton === undefined) {
    throw new TypeError('the lab has no variant built-in, or no skeleton');
  }
  const reference = { source: sources.qemu, contributions: lab.qemu };
  // Meson needs ten seconds when a build file differs from that of the seed; the skeleton has what most need.
  const frame = { source: sources.qemu, contributions: lab.skeleton.qemu };
  const plain = { source: sources.linux, config: options.kernelConfig, contributions: [], fragments: [] };
  const seeded = { ...plain, contributions: builtIn.contributions, fragments: builtIn.fragments };
  const qemu = step('qemu', (s) => buildQemu(reference, { step: s, timeouts }));
  const linux = step('linux', (s) => buildLinux(plain, { step: s, timeouts }));
  const image = qemu.then(({ img }) =>
    step('image', (s) =>
      resolveImage(
        {
          prefer: options.guest,
          alpineMirrors: options.alpineMirrors,
          qemuImg: img,
          refresh: options.refresh,
        },
        { step: s, timeouts },
      ),
    ),
  );
  const built = { qemu: await qemu, linux: await linux, image: await image };
  const seeds = await step('seeds', async (s) => ({
    qemuSeed: await seedQemu(frame, { step: s, timeouts }),
    linuxSeed: await seedLinux(seeded, { step: s, timeouts }),
  }));
  const extras = await step('programs', async (s) => ({
    module: await buildModule(
      { linux: built.linux, dir: moduleFolder, name: 'my_rng' },
      { step: s, timeouts },
    ),
    probe: await buildProgram({ name: 'my-rng-probe', sources: [probeSource] }, { step: s, timeouts }),
  }));
  const foundation = { sources, ...built, ...seeds, ...extras };
  return { ...foundation, digest: await digestOf(foundation) };
}

const folder = join(packageRoot, 'patches/my-rng');
const moduleFolder = join(folder, 'module');
const probeSource = join(folder, 'guest/my-rng-probe.c');

/** The checks themselves count as well. */
async function digestOf(parts: Omit<Foundation, 'digest'>): Promise<string> {
  const { qemu, qemuSeed, linux, linuxSeed, module, probe, image } = parts;
  const made = [qemu, qemuSeed, linux, linuxSeed, module, probe, image].map(({ digest }) => digest);
  return digestJson({ made, own: await ownDigest() });
}
