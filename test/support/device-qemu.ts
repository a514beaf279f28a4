import { execFile } from 'node:child_process';
import { access, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { cacheRoot, packageRoot } from '../../src/host/paths.js';

const call = promisify(execFile);

/** The cache of the user, whatever a test sets later. */
const cache = cacheRoot();

export const DEVICE_FOLDER = join(packageRoot, 'patches/my-rng/device');
export const DEVICE_SOURCE = join(DEVICE_FOLDER, 'my-rng.c');

/** QEMU's type name of a variant. */
export const deviceType = (name: string) => (name === 'reference' ? 'my_rng' : `my_rng_${name}`);

/** A QEMU built by the cache's work tree, from which others can be linked; undefined when there is none. */
export interface BuiltTree {
  readonly build: string;
  readonly dataDirs: readonly string[];
}

/** @param sanitized one that was compiled with sanitizers, or one that was not. */
export async function findBuiltTree(sanitized = false): Promise<BuiltTree | undefined> {
  const shares = await children(join(cache, 'artifacts/qemu'), 'share/bios-256k.bin');
  const builds = await children(join(cache, 'work'), `build/${PROGRAM}`, `build/${OBJECT}`);
  const [share] = shares;
  const options = await Promise.all(
    builds.map((dir) => readFile(join(dir, 'build/config.status'), 'utf8').catch(() => '')),
  );
  const build = builds.find((_, i) => /--enable-(asan|sanitizers)/.test(options[i] ?? '') === sanitized);
  if (share === undefined || build === undefined) return undefined;
  return { build: join(build, 'build'), dataDirs: [join(share, 'share')] };
}

/**
 * Links one QEMU that has, besides `my_rng` as it stands in the repository, a device `my_rng_<name>` for each variant
 * of its source. Nothing is written to the work tree.
 *
 * @param shared other texts of sources that all of them have in common: `my-rng-ring`.
 */
export async function linkVariants(
  tree: BuiltTree,
  variants: ReadonlyMap<string, string>,
  to: string,
  shared: ReadonlyMap<string, string> = new Map(),
): Promise<string> {
  const { compile, link } = await buildCommands(tree);
  await makeTraceHeader(tree, to);
  const sources = new Map([['reference', await readFile(DEVICE_SOURCE, 'utf8')], ...variants]);
  const jobs = [...sources].map(([name, text]) => async () => {
    const source = join(to, `${name}.c`);
    const type = `#define TYPE_MY_RNG "${deviceType(name)}"`;
    await writeFile(source, text.replace(/^#define TYPE_MY_RNG .*$/m, type));
    return { source, warnings: name === 'reference' ? '-Werror' : '-w' };
  });
  for (const name of SHARED) {
    jobs.push(async () => {
      const other = shared.get(name);
      if (other === undefined) return { source: join(DEVICE_FOLDER, `${name}.c`), warnings: '-Werror' };
      await writeFile(join(to, `${name}.c`), other);
      return { source: join(to, `${name}.c`), warnings: '-w' };
    });
  }
  const objects: string[] = [];
  const worker = async () => {
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) {
      const { source, warnings } = await job();
      const object = join(to, basename(source).replace(/\.c$/, '.o'));
      const [program = '', ...args] = compile.map((word) =>
        word === SOURCE ? source : word === OBJECT ? object : word,
      );
      const places = [DEVICE_FOLDER, to].flatMap((dir) => ['-iquote', dir]);
      await call(program, [...args.filter((word) => word !== '-MD'), ...places, warnings], {
        cwd: tree.build,
      });
      objects.push(object);
    }
  };
  await Promise.all([worker(), worker()]);
  const binary = join(to, 'qemu-system-x86_64');
  const old = SHARED.map(objectOf);
  const words = link
    .filter((word) => !old.includes(word))
    .flatMap((word) => (word === OBJECT ? objects : word === PROGRAM ? [binary] : [word]));
  const [program = '', ...args] = words;
  await call(program, args, { cwd: tree.build });
  return binary;
}

/** Sources of the device that are the same for all variants. */
const SHARED = ['my-rng-generators', 'my-rng-ring'];

const objectOf = (name: string) => `libcommon.a.p/hw_misc_${name}.c.o`;

/** The tree may have been built with other trace events; ours do nothing in it anyway. */
async function makeTraceHeader({ build }: BuiltTree, to: string): Promise<void> {
  const tool = join(build, '../src/scripts/tracetool.py');
  const options = ['--backends=nop', '--format=h', '--group=my_rng'];
  await call('python3', [tool, ...options, join(DEVICE_FOLDER, 'trace-events.frag'), join(to, 'trace.h')]);
}

const SOURCE = '../src/hw/misc/my-rng.c';
const OBJECT = objectOf('my-rng');
const PROGRAM = 'qemu-system-x86_64';

/** The two command lines as ninja has them, response files spelled out. */
async function buildCommands({ build }: BuiltTree): Promise<{ compile: string[]; link: string[] }> {
  const { stdout } = await call('ninja', ['-t', 'compdb', '-x'], { cwd: build, maxBuffer: 2 ** 28 });
  const steps = JSON.parse(stdout) as { output: string; command: string }[];
  const words = (output: string) => {
    const command = steps.find((step) => step.output === output)?.command;
    if (command === undefined) throw new Error(`ninja has no step for ${output}`);
    return command.split(/\s+/);
  };
  const compile = words(OBJECT);
  for (const option of ['-MQ', '-MF']) compile.splice(compile.indexOf(option), 2);
  return { compile, link: words(PROGRAM) };
}

async function children(folder: string, ...having: string[]): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  const found = await Promise.all(
    names.map(async (name) => {
      const path = join(folder, name);
      return await Promise.all(having.map((part) => access(join(path, part)))).then(
        () => [path],
        () => [],
      );
    }),
  );
  return found.flat();
}
