import { join } from 'node:path';
import { type Contribution, contributedFiles } from '../build/contribution.js';
import { distroLinux, fetchDistroLinux } from '../build/distro-linux.js';
import type { Kernel } from '../build/kernel.js';
import { buildLinux } from '../build/linux.js';
import { buildModule, type KernelModule } from '../build/module.js';
import { buildProgram, type Program } from '../build/programs.js';
import { buildQemu, type QemuPrograms } from '../build/qemu.js';
import { systemQemu } from '../build/system-qemu.js';
import { runStep, type Step, type StepContext } from '../events.js';
import { packageRoot } from '../host/paths.js';
import { type GuestImage, resolveImage } from '../image/resolve.js';
import type { DeviceOwner } from '../machine/spec.js';
import { resolveSource } from '../sources/resolve.js';
import type { ResolvedSource } from '../sources/source.js';
import type { Timeouts } from '../timeouts.js';
import type { KernelVariant, Lab } from './lab.js';

export interface SourceChoice {
  /** A tree or tarball of the user's own. */
  readonly path?: string;
  readonly version?: string;
  /** The very source that an earlier call gave. */
  readonly digest?: string;
}

/** Everything that decides what is built. */
export interface PrepareOptions {
  readonly lab: Lab;
  readonly variant: string;
  readonly qemu: SourceChoice;
  readonly linux: SourceChoice;
  /** `built`: from source, as the exercise names it; `distro`: Debian's own package. */
  readonly kernel: 'built' | 'distro';
  readonly kernelConfig: 'lab' | 'defconfig';
  /** Host paths of fragments that change how the kernel is compiled; the machine profile names them. */
  readonly instrumentation: readonly string[];
  /** Compile QEMU to find misuse of memory and undefined behaviour; the machine profile says so. */
  readonly qemuSanitizers: boolean;
  readonly guest: 'auto' | 'alpine' | 'debian';
  readonly alpineMirrors: readonly string[];
  readonly sourceMirrors: readonly string[];
  /** Patches that take the place of the lab's own device, or of its driver in the kernel. */
  readonly qemuPatches: readonly string[];
  readonly linuxPatches: readonly string[];
  /** Ask upstream again even if it did not answer lately. */
  readonly refresh: boolean;
}

/** What a part of the machine was made from, for status and reports. */
export interface Origin {
  /** Where it came from, and which version the exercise names if that is another one. */
  readonly detail: string;
  /** Of the source tree, or of the packages. */
  readonly digest: string;
  /** The unpacked source tree, where there is one. */
  readonly tree?: string;
}

/** All artifacts of a lab. */
export interface Prepared {
  readonly sources: { readonly qemu: Origin; readonly linux: Origin };
  readonly qemu: QemuPrograms;
  readonly linux: Kernel;
  readonly image: GuestImage;
  readonly modules: Readonly<Record<string, KernelModule>>;
  readonly programs: Readonly<Record<string, Program>>;
}

/** The steps of `prepare`; which of them run depends on the options, see `prepareStepsFor`. */
export const prepareSteps = {
  qemuSource: 'QEMU source',
  systemQemu: "The system's QEMU",
  linuxSource: 'Linux source',
  linuxPackages: "Debian's kernel packages",
  qemu: 'Build QEMU',
  linux: 'Build Linux',
  distroLinux: "Unpack Debian's kernel",
  programs: 'Build modules and guest programs',
  image: 'Guest image',
} as const;

type StepId = keyof typeof prepareSteps;

/** The steps that `prepare` takes with these options, for a display that lists them before they start. */
export function prepareStepsFor(options: PrepareOptions): Readonly<Record<string, string>> {
  const without: StepId[] = [
    ...(usesSystemQemu(options) ? (['qemuSource', 'qemu'] as const) : (['systemQemu'] as const)),
    ...(options.kernel === 'distro'
      ? (['linuxSource', 'linux'] as const)
      : (['linuxPackages', 'distroLinux'] as const)),
  ];
  return Object.fromEntries(Object.entries(prepareSteps).filter(([id]) => !without.includes(id as StepId)));
}

/** Whether the QEMU of this host will do: the lab adds nothing to QEMU, and nobody asked for another one. */
export function usesSystemQemu({ lab, qemu, qemuPatches, qemuSanitizers }: PrepareOptions): boolean {
  const chosen = qemu.path !== undefined || qemu.version !== undefined;
  const asked = chosen || qemuPatches.length > 0 || qemuSanitizers;
  return !asked && lab.qemu.length === 0 && lab.devices.length === 0;
}

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
  const work = start(options, { context: inner, timeouts });
  try {
    return await joined(work);
  } catch (error) {
    // The first failure stops the rest; it is reported, not the aborts that it causes.
    stop.abort();
    await Promise.allSettled(Object.values(work));
    throw error;
  }
}

/** QEMU alone, as `prepare` makes it; its steps are `qemuSteps`. */
export async function prepareQemu(
  options: PrepareOptions,
  context: StepContext,
  timeouts: Timeouts,
): Promise<QemuPrograms> {
  return (await makeQemu(options, { context, timeouts })).made;
}

/** The steps of `prepareQemu`. */
export const qemuSteps = { qemuSource: prepareSteps.qemuSource, qemu: prepareSteps.qemu } as const;

interface Work {
  readonly qemu: Promise<Made<QemuPrograms>>;
  readonly linux: Promise<Made<Kernel>>;
  readonly image: Promise<GuestImage>;
  readonly extras: Promise<Extras>;
}

interface Made<T> {
  readonly made: T;
  readonly origin: Origin;
}

interface Running {
  readonly context: StepContext;
  readonly timeouts: Timeouts;
}

function start(options: PrepareOptions, running: Running): Work {
  const qemu = usesSystemQemu(options) ? findQemu(running) : makeQemu(options, running);
  const linux = options.kernel === 'distro' ? unpackLinux(options, running) : makeLinux(options, running);
  const { guest: prefer, alpineMirrors, refresh } = options;
  const image = qemu.then(({ made: { img } }) =>
    step(
      running,
      'image',
      (c) => resolveImage({ prefer, alpineMirrors, qemuImg: img, refresh }, c),
      ({ distro, version }) => `${distro} ${version}`,
    ),
  );
  const extras = linux.then(({ made }) =>
    step(running, 'programs', (c) => buildExtras(options.lab, variantOf(options), made, c), extrasDetail),
  );
  return { qemu, linux, image, extras };
}

/** Runs a step whose result says whether it was made now, with the context that builds want. */
async function step<T extends { readonly fresh: boolean }>(
  { context, timeouts }: Running,
  id: StepId,
  body: (context: { readonly step: Step; readonly timeouts: Timeouts }) => Promise<T>,
  detail: (value: T) => string,
): Promise<T> {
  return await runStep(context, id, prepareSteps[id], async (s) => {
    const value = await body({ step: s, timeouts });
    return { value, outcome: value.fresh ? 'done' : 'cached', detail: detail(value) };
  });
}

async function findQemu({ context, timeouts }: Running): Promise<Made<QemuPrograms>> {
  return await runStep(context, 'systemQemu', prepareSteps.systemQemu, async (s) => {
    const made = await systemQemu({ step: s, timeouts });
    const detail = `system: ${made.origin}`;
    return { value: { made, origin: { detail, digest: made.digest } }, detail };
  });
}

async function makeQemu(options: PrepareOptions, running: Running): Promise<Made<QemuPrograms>> {
  const source = await sourceOf('qemu', options, running);
  const build = (c: Parameters<typeof buildQemu>[1]) => buildQemu(qemuRequest(source, options), c);
  const made = await step(running, 'qemu', build, ({ version }) => version);
  return { made, origin: originOf(source) };
}

async function unpackLinux({ lab, refresh }: PrepareOptions, running: Running): Promise<Made<Kernel>> {
  const packages = await step(
    running,
    'linuxPackages',
    (c) => fetchDistroLinux({ refresh }, c),
    ({ origin }) => origin,
  );
  const made = await step(
    running,
    'distroLinux',
    (c) => distroLinux({ packages, modules: lab.kernelModules }, c),
    ({ release }) => release,
  );
  return { made, origin: { detail: `debian: ${packages.origin}`, digest: packages.digest } };
}

async function makeLinux(options: PrepareOptions, running: Running): Promise<Made<Kernel>> {
  const source = await sourceOf('linux', options, running);
  const made = await step(
    running,
    'linux',
    (c) => buildLinux(linuxRequest(source, options, variantOf(options)), c),
    ({ release }) => release,
  );
  return { made, origin: originOf(source) };
}

async function sourceOf(
  project: 'qemu' | 'linux',
  options: PrepareOptions,
  running: Running,
): Promise<ResolvedSource> {
  return await step(
    running,
    `${project}Source`,
    (c) => resolveSource(sourceRequest(project, options), c),
    sourceDetail,
  );
}

function originOf(source: ResolvedSource): Origin {
  const { origin, wanted, version, digest, tree } = source;
  const differs = wanted === version ? '' : ` (the exercise names ${wanted})`;
  return { detail: `${origin.kind}: ${origin.detail}${differs}`, digest, tree };
}

async function joined(work: Work): Promise<Prepared> {
  const [qemu, linux, image, extras] = await Promise.all([work.qemu, work.linux, work.image, work.extras]);
  const sources = { qemu: qemu.origin, linux: linux.origin };
  return { sources, qemu: qemu.made, linux: linux.made, image, ...extras };
}

/** The chosen variant; the caller has checked that it exists. */
export function variantOf({ lab, variant }: Pick<PrepareOptions, 'lab' | 'variant'>): KernelVariant {
  const chosen = lab.variants[variant];
  if (chosen === undefined) throw new TypeError(`no variant ${variant}`);
  return chosen;
}

/** What is asked of `resolveSource` for this lab. */
export function sourceRequest(project: 'qemu' | 'linux', options: PrepareOptions) {
  const { path, version, digest } = options[project];
  return {
    project,
    version: version ?? options.lab.versions[project],
    ...(path === undefined ? {} : { path }),
    ...(digest === undefined ? {} : { digest }),
    mirrors: options.sourceMirrors,
    refresh: options.refresh,
  };
}

function sourceDetail({ version, origin }: ResolvedSource): string {
  return `${version}, ${origin.kind}: ${origin.detail}`;
}

function qemuRequest(source: ResolvedSource, options: PrepareOptions) {
  return { source, contributions: qemuContributions(options), sanitizers: options.qemuSanitizers };
}

/** Devices out of a patch or a work folder are the user's, whose wish it is that they run here; the lab's are ours. */
export async function deviceOwner(
  options: Pick<PrepareOptions, 'lab' | 'qemuPatches'>,
): Promise<DeviceOwner> {
  const contributions = qemuContributions(options);
  const ours = join(packageRoot, 'patches', '/');
  const theirs = contributions.some((one) =>
    'from' in one ? !one.from.startsWith(ours) : one.kind === 'removal',
  );
  return { blame: theirs ? 'user' : 'host', files: await contributedFiles(contributions) };
}

/** What is put into QEMU: the lab's device, or the patches that take its place. */
function qemuContributions({
  lab,
  qemuPatches,
}: Pick<PrepareOptions, 'lab' | 'qemuPatches'>): readonly Contribution[] {
  return qemuPatches.length > 0 ? patches(qemuPatches) : lab.qemu;
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
  linux: Kernel,
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
