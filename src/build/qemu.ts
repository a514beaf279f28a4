import { access, copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { LabError } from '../errors.js';
import { run } from '../host/run.js';
import { digestFile, getOrMake, type Json } from '../host/store.js';
import { compilationOf, compile, compilerVersion } from './compile.js';
import type { Contribution } from './contribution.js';
import type { Diagnostic } from './diagnostics.js';
import { mesonFor } from './meson.js';
import { deviceConfig } from './qemu-devices.js';
import { PYTHON } from './tools.js';
import { describeContributions } from './tree.js';
import { keepWarnings, readWarnings } from './warnings.js';
import {
  type BuildContext,
  putText,
  type SourceTree,
  touchContributed,
  type WorkTree,
  withWorkTree,
} from './worktree.js';

export interface QemuRequest {
  readonly source: SourceTree;
  readonly contributions: readonly Contribution[];
  /** Compile QEMU to find misuse of memory and undefined behaviour; it gets a work tree of its own. */
  readonly sanitizers?: boolean;
}

/** The programs of QEMU that a machine needs, whoever made them. */
export interface QemuPrograms {
  readonly version: string;
  /** qemu-system-x86_64. */
  readonly binary: string;
  /** qemu-img. */
  readonly img: string;
  /** Folders for `-L`, in order; none when QEMU finds its firmware by itself. */
  readonly dataDirs: readonly string[];
  /** Compiled with sanitizers. */
  readonly sanitized: boolean;
  readonly digest: string;
  readonly fresh: boolean;
}

/** QEMU as built, with all the firmware it needs: nothing outside of `dir` but the host's shared libraries. */
export interface Qemu extends QemuPrograms {
  /** What the compiler warned of in contributed files. */
  readonly warnings: readonly Diagnostic[];
  readonly dir: string;
}

/** Changes when this file builds something else from the same inputs. */
const RECIPE = 3;

/** What the labs need and no more: the whole build takes two minutes on two cores instead of three and a half. */
const FLAGS = [
  `--python=${PYTHON}`,
  '--target-list=x86_64-softmmu',
  '--with-devices-x86_64=lab',
  '--without-default-features',
  '--enable-tcg',
  '--enable-kvm',
  '--enable-slirp',
  '--enable-seccomp',
  '--enable-tools',
  '--enable-trace-backends=nop',
  '--disable-docs',
  '--disable-debug-info',
  '--disable-install-blobs',
  '--disable-download',
];

const TARGETS = ['qemu-system-x86_64', 'qemu-img'];

/**
 * QEMU for x86_64 from `source` with `contributions`: from the cache, or built in a persistent work tree.
 *
 * @throws LabError `build/compile`, `build/anchor`, `build/patch`, `build/firmware`, `build/failed`, and what the
 *   store, the lock and the process runner throw.
 */
export async function buildQemu(request: QemuRequest, context: BuildContext): Promise<Qemu> {
  const { source, contributions, sanitizers = false } = request;
  const firmware = await findFirmware(source.tree);
  const compiler = await compilerVersion(context);
  const options = [...FLAGS, ...(await extraFlags(request))];
  const artifact = await getOrMake({
    kind: 'qemu',
    inputs: {
      recipe: RECIPE,
      source: source.digest,
      version: source.version,
      contributions: await describeContributions(contributions),
      options,
      compiler,
      firmware: await digests(firmware),
    },
    signal: context.step.signal,
    onWait: () => context.step.note('another command is building the same QEMU; waiting for it'),
    make: (dir, log) =>
      withBuiltQemu(request, log, context, async (tree, warnings) => {
        await collect(tree, firmware, dir, log, context);
        await keepWarnings(dir, warnings);
      }),
  });
  const bin = join(artifact.dir, 'bin');
  return {
    ...artifact,
    version: source.version,
    binary: join(bin, 'qemu-system-x86_64'),
    img: join(bin, 'qemu-img'),
    dataDirs: [join(artifact.dir, 'share')],
    sanitized: sanitizers,
    warnings: await readWarnings(artifact.dir),
  };
}

/**
 * Calls `use` with a work tree in which QEMU has just been built, while nobody else uses the tree.
 *
 * @throws LabError `build/compile`, `build/anchor`, `build/patch`, `build/failed`.
 */
export async function withBuiltQemu<T>(
  request: QemuRequest,
  log: string,
  context: BuildContext,
  use: (tree: WorkTree, warnings: readonly Diagnostic[]) => Promise<T>,
): Promise<T> {
  const { source, contributions } = request;
  const options = [...FLAGS, ...(await extraFlags(request))];
  const key = { recipe: RECIPE, options, compiler: await compilerVersion(context) };
  return await withWorkTree({ source, key, contributions }, context, async (tree) =>
    use(tree, await build(tree, options, `QEMU ${source.version}`, log, context)),
  );
}

/**
 * What `configure` is told beyond the usual. Sanitizers triple the time that compiling takes with -O2 and do not quite
 * double it with -O1; their reports name lines of the source with the least of debugging information.
 */
export async function extraFlags({ source, sanitizers = false }: QemuRequest): Promise<string[]> {
  if (!sanitizers) return [];
  const known = await readFile(join(source.tree, 'meson_options.txt'), 'utf8');
  // one option until QEMU 9.0
  const on = known.includes("option('asan'") ? ['--enable-asan', '--enable-ubsan'] : ['--enable-sanitizers'];
  return [...on, '-Doptimization=1', '--extra-cflags=-g1'];
}

async function build(
  tree: WorkTree,
  options: readonly string[],
  what: string,
  log: string,
  context: BuildContext,
): Promise<Diagnostic[]> {
  const { step, timeouts } = context;
  const env = await mesonFor(tree.src, context);
  const common = { cwd: tree.build, env, log, signal: step.signal, timeout: timeouts.build };
  // errors in Kconfig files appear only there
  const hidden = join(tree.build, 'meson-logs/meson-log.txt');
  const compilation = { ...compilationOf(what, tree), hidden };
  await putText(tree, 'configs/devices/x86_64-softmmu/lab.mak', await deviceConfig(tree.src));
  const configured = join(tree.dir, 'configured');
  const script = await digestFile(join(tree.src, 'configure'));
  if ((await readFile(configured, 'utf8').catch(() => '')) !== script) {
    await rm(tree.build, { recursive: true, force: true });
    await mkdir(tree.build);
    const onLine = (line: string) => step.output(line);
    await checkSubprojects(tree);
    await compile(join(tree.src, 'configure'), options, { ...common, onLine }, compilation);
    await writeFile(configured, script);
  }
  await touchContributed(tree);
  const onLine = (line: string) => {
    const [, done, total] = /^\[(\d+)\/(\d+)\] /.exec(line) ?? [];
    if (done !== undefined) step.progress(Number(done), Number(total), 'steps');
    step.output(line);
  };
  const jobs = `-j${availableParallelism()}`;
  return await compile('ninja', [jobs, ...TARGETS], { ...common, onLine }, compilation);
}

/** A checkout has only pointers to these; archives of releases hold them. Nothing is downloaded during a build. */
async function checkSubprojects({ pristine, blame }: WorkTree): Promise<void> {
  const wraps = (await readdir(join(pristine, 'subprojects')).catch(() => [])).filter((name) =>
    name.endsWith('.wrap'),
  );
  const wanted = ['keycodemapdb', 'berkeley-softfloat-3', 'berkeley-testfloat-3'];
  const needed = wanted.filter((name) => wraps.includes(`${name}.wrap`));
  const present = await Promise.all(needed.map((name) => exists(join(pristine, 'subprojects', name))));
  const missing = needed.filter((_, i) => !present[i]);
  if (missing.length === 0) return;
  throw new LabError({
    code: 'build/subprojects',
    blame,
    fact: `the QEMU source ${pristine} lacks parts of itself`,
    evidence: missing.map((name) => `missing: subprojects/${name}`),
    next: `in that folder: meson subprojects download ${missing.join(' ')}; or use a release archive`,
  });
}

async function collect(
  tree: WorkTree,
  firmware: ReadonlyMap<string, string>,
  dir: string,
  log: string,
  { step, timeouts }: BuildContext,
): Promise<void> {
  await mkdir(join(dir, 'bin'));
  await mkdir(join(dir, 'share'));
  for (const target of TARGETS) await copyFile(join(tree.build, target), join(dir, 'bin', target));
  for (const [name, path] of firmware) await copyFile(path, join(dir, 'share', name));
  // a binary that does not start must not enter the cache
  const binary = join(dir, 'bin', 'qemu-system-x86_64');
  await run(binary, ['--version'], { log, signal: step.signal, timeout: timeouts.hostTool });
}

/** Firmware of the machines `pc`, `q35` and `microvm` with VGA, e1000 and virtio; who packages it in Debian. */
const FIRMWARE: ReadonlyMap<string, string> = new Map([
  ['bios.bin', 'seabios'],
  ['bios-256k.bin', 'seabios'],
  ['bios-microvm.bin', 'seabios'],
  ['vgabios.bin', 'seabios'],
  ['vgabios-stdvga.bin', 'seabios'],
  ['kvmvapic.bin', 'qemu-system-data'],
  ['linuxboot.bin', 'qemu-system-data'],
  ['linuxboot_dma.bin', 'qemu-system-data'],
  ['multiboot.bin', 'qemu-system-data'],
  ['multiboot_dma.bin', 'qemu-system-data'],
  ['pvh.bin', 'qemu-system-data'],
  ['qboot.rom', 'qemu-system-data'],
  ['efi-e1000.rom', 'ipxe-qemu'],
  ['efi-virtio.rom', 'ipxe-qemu'],
]);

const FIRMWARE_FOLDERS = ['/usr/share/seabios', '/usr/share/qemu', '/usr/lib/ipxe/qemu'];

/** Where each firmware file is: in the source as upstream ships it, or in Debian's packages, whose source has none. */
async function findFirmware(tree: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const [name, owner] of FIRMWARE) {
    const places = [join(tree, 'pc-bios'), ...FIRMWARE_FOLDERS].map((folder) => join(folder, name));
    const present = await Promise.all(places.map(exists));
    const place = places[present.indexOf(true)];
    if (place === undefined) throw noFirmware(name, owner, places);
    found.set(name, place);
  }
  return found;
}

function noFirmware(name: string, owner: string, places: readonly string[]): LabError {
  return new LabError({
    code: 'build/firmware',
    blame: 'host',
    fact: `the firmware file ${name} was not found`,
    evidence: places,
    next: `install the package that holds it: apt-get install ${owner}`,
  });
}

async function digests(files: ReadonlyMap<string, string>): Promise<Json> {
  const pairs = [...files].map(async ([name, path]) => [name, await digestFile(path)] as const);
  return Object.fromEntries(await Promise.all(pairs));
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
