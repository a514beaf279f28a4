import type { Contribution } from '../build/contribution.js';
import { buildLinux, type Linux } from '../build/linux.js';
import { buildModule, type KernelModule } from '../build/module.js';
import { buildProgram, type Program } from '../build/programs.js';
import { buildQemu, type Qemu } from '../build/qemu.js';
import { runStep, type Step, type StepContext } from '../events.js';
import { type GuestImage, resolveImage } from '../image/resolve.js';
import { resolveSource } from '../sources/resolve.js';
import type { ResolvedSource } from '../sources/source.js';
import type { Timeouts } from '../timeouts.js';
import type { KernelVariant, Lab } from './lab.js';

export interface SourceChoice {
  /** A tree or tarball of the user's own. */
  readonly path?: string;
  readonly version?: string;
}

/** Everything that decides what is built. */
export interface PrepareOptions {
  readonly lab: Lab;
  readonly variant: string;
  readonly qemu: SourceChoice;
  readonly linux: SourceChoice;
  readonly kernelConfig: 'lab' | 'defconfig';
  /** Host paths of fragments that change how the kernel is compiled; the machine profile names them. */
  readonly instrumentation: readonly string[];
  readonly guest: 'auto' | 'alpine' | 'debian';
  readonly alpineMirrors: readonly string[];
  readonly sourceMirrors: readonly string[];
  /** Patches that take the place of the lab's own device, or of its driver in the kernel. */
  readonly qemuPatches: readonly string[];
  readonly linuxPatches: readonly string[];
  /** Ask upstream again even if it did not answer lately. */
  readonly refresh: boolean;
}

/** All artifacts of a lab. */
export interface Prepared {
  readonly sources: { readonly qemu: ResolvedSource; readonly linux: ResolvedSource };
  readonly qemu: Qemu;
  readonly linux: Linux;
  readonly image: GuestImage;
  readonly modules: Readonly<Record<string, KernelModule>>;
  readonly programs: Readonly<Record<string, Program>>;
}

/** The steps of `prepare`, for a display that lists them before they start. */
export const prepareSteps = {
  qemuSource: 'QEMU source',
  linuxSource: 'Linux source',
  qemu: 'Build QEMU',
  linux: 'Build Linux',
  programs: 'Build modules and guest programs',
  image: 'Guest image',
} as const;

/**
 * Sources, QEMU, Linux, modules, programs and guest image of a lab: from the cache or made now, in parallel as far
 * as they do not depend on each other. Interrupted anywhere, the next call continues.
 */
export async function prepare(
  options: PrepareOptions,
  context: StepContext,
  timeouts: Timeouts,
): Promise<Prepared> {
  const stop = new AbortController();
  const inner = { ...context, signal: AbortSignal.any([context.signal, stop.signal]) };
  const work = start(options, inner, timeouts);
  try {
    return await joined(work);
  } catch (error) {
    // The first failure stops the rest; it is reported, not the aborts that it causes.
    stop.abort();
    await Promise.allSettled(Object.values(work));
    throw error;
  }
}

type Work = ReturnType<typeof start>;

function start(options: PrepareOptions, context: StepContext, timeouts: Timeouts) {
  const variant = variantOf(options);
  const step = <T extends { readonly fresh: boolean }>(
    id: keyof typeof prepareSteps,
    body: (step: Step) => Promise<T>,
    detail: (value: T) => string,
  ) =>
    runStep(context, id, prepareSteps[id], async (s) => {
      const value = await body(s);
      return { value, outcome: value.fresh ? 'done' : 'cached', detail: detail(value) } as const;
    });
  const source = (project: 'qemu' | 'linux') =>
    step(
      `${project}Source`,
      (s) => resolveSource(sourceRequest(project, options), { step: s, timeouts }),
      sourceDetail,
    );
  const qemuSource = source('qemu');
  const linuxSource = source('linux');
  const qemu = qemuSource.then((resolved) =>
    step(
      'qemu',
      (s) => buildQemu(qemuRequest(resolved, options), { step: s, timeouts }),
      ({ version }) => version,
    ),
  );
  const linux = linuxSource.then((resolved) =>
    step(
      'linux',
      (s) => buildLinux(linuxRequest(resolved, options, variant), { step: s, timeouts }),
      ({ release }) => release,
    ),
  );
  const image = qemu.then(({ img }) =>
    step(
      'image',
      (s) =>
        resolveImage(
          {
            prefer: options.guest,
            alpineMirrors: options.alpineMirrors,
            qemuImg: img,
            refresh: options.refresh,
          },
          { step: s, timeouts },
        ),
      ({ distro, version }) => `${distro} ${version}`,
    ),
  );
  const extras = linux.then((built) =>
    step('programs', (s) => buildExtras(options.lab, variant, built, { step: s, timeouts }), extrasDetail),
  );
  return { qemuSource, linuxSource, qemu, linux, image, extras };
}

async function joined(work: Work): Promise<Prepared> {
  const [qemuSource, linuxSource, qemu, linux, image, extras] = await Promise.all([
    work.qemuSource,
    work.linuxSource,
    work.qemu,
    work.linux,
    work.image,
    work.extras,
  ]);
  return { sources: { qemu: qemuSource, linux: linuxSource }, qemu, linux, image, ...extras };
}

/** The chosen variant; the caller has checked that it exists. */
export function variantOf({ lab, variant }: Pick<PrepareOptions, 'lab' | 'variant'>): KernelVariant {
  const chosen = lab.variants[variant];
  if (chosen === undefined) throw new TypeError(`no variant ${variant}`);
  return chosen;
}

/** What is asked of `resolveSource` for this lab. */
export function sourceRequest(project: 'qemu' | 'linux', options: PrepareOptions) {
  const { path, version } = options[project];
  return {
    project,
    version: version ?? options.lab.versions[project],
    ...(path === undefined ? {} : { path }),
    mirrors: options.sourceMirrors,
    refresh: options.refresh,
  };
}

function sourceDetail({ version, origin }: ResolvedSource): string {
  return `${version}, ${origin.kind}: ${origin.detail}`;
}

function qemuRequest(source: ResolvedSource, { lab, qemuPatches }: PrepareOptions) {
  return { source, contributions: qemuPatches.length > 0 ? patches(qemuPatches) : lab.qemu };
}

function linuxRequest(source: ResolvedSource, options: PrepareOptions, variant: KernelVariant) {
  const { linuxPatches, kernelConfig, instrumentation } = options;
  return {
    source,
    config: kernelConfig,
    fragments: variant.fragments,
    instrumentation,
    contributions: linuxPatches.length > 0 ? patches(linuxPatches) : variant.contributions,
  };
}

function patches(files: readonly string[]): Contribution[] {
  return files.map((from) => ({ kind: 'patch', from, blame: 'user' }));
}

interface Extras extends Pick<Prepared, 'modules' | 'programs'> {
  readonly fresh: boolean;
}

async function buildExtras(
  lab: Lab,
  variant: KernelVariant,
  linux: Linux,
  context: { step: Step; timeouts: Timeouts },
): Promise<Extras> {
  const modules: Record<string, KernelModule> = {};
  const programs: Record<string, Program> = {};
  for (const [name, dir] of Object.entries(variant.modules ? lab.modules : {})) {
    modules[name] = await buildModule({ linux, dir, name }, context);
  }
  for (const [name, source] of Object.entries(lab.programs)) {
    programs[name] = await buildProgram({ name, sources: [source] }, context);
  }
  const fresh = [...Object.values(modules), ...Object.values(programs)].some((artifact) => artifact.fresh);
  return { modules, programs, fresh };
}

function extrasDetail({ modules, programs }: Extras): string {
  return [...Object.keys(modules).map((name) => `${name}.ko`), ...Object.keys(programs)].join(', ');
}
