import { rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, extname, join, relative, resolve } from 'node:path';
import { LabError } from '../errors.js';
import { LineSplitter } from '../host/lines.js';
import { packageRoot } from '../host/paths.js';
import { spawnQemu } from '../machine/process.js';
import type { BlockDevice } from '../nbd/device.js';
import { remoteDevice } from '../nbd/remote/far.js';
import type { Timeouts } from '../timeouts.js';
import { openJail, setupFailed } from './jail.js';
import type { JailLimits } from './limits.js';
import type { Bind } from './spec.js';
import { makeStage } from './stage.js';

/** A block device whose code runs in a jail. Disposing of it ends that code. */
export interface SubmittedDevice extends AsyncDisposable {
  readonly device: BlockDevice;
  /** The last lines that it printed. */
  readonly said: () => readonly string[];
  /** Why it is of no further use, if that is so; `late`: it did not answer in time. */
  readonly lost: () => { readonly reason: string; readonly late: boolean } | undefined;
}

export interface SubmittedDeviceOptions {
  /** Milliseconds for one operation; after one that took longer, all of them fail. */
  readonly patience: number;
  readonly timeouts: Timeouts;
  /** A folder that holds the file, and what it imports besides. */
  readonly folder?: string;
  /** Words in the name of the export that is meant, where there are several: a regular expression, any case. */
  readonly named?: string;
}

/**
 * Runs a device's file, one TypeScript or JavaScript file that nobody trusts, in a jail, translation included: what it
 * imports is looked for there. Whatever it does, its operations end, at worst with EIO.
 *
 * @throws LabError `nbd/no-device` (blame submission) with what it printed; `sandbox/setup`.
 */
export async function openSubmittedDevice(
  path: string,
  { patience, timeouts, folder, named = '' }: SubmittedDeviceOptions,
): Promise<SubmittedDevice> {
  const stage = await makeStage('jail');
  const seen =
    folder === undefined
      ? { from: resolve(path), at: `/submission/device${extname(path)}` }
      : { from: resolve(folder), at: '/submission' };
  const inside = folder === undefined ? seen.at : join(seen.at, relative(folder, path));
  const { jail, lines, channel, kill } = await started(stage, seen, [inside, named]).catch(async (error) => {
    await rm(stage, { recursive: true, force: true });
    throw error;
  });
  const end = async () => {
    await kill();
    await jail[Symbol.asyncDispose]();
    await rm(stage, { recursive: true, force: true });
  };
  try {
    let lost: ReturnType<SubmittedDevice['lost']>;
    const onLost = (why: typeof lost) => {
      lost = why;
    };
    const device = await remoteDevice(channel, { patience, start: timeouts.hostTool, onLost });
    return { device, said: () => lines, lost: () => lost, [Symbol.asyncDispose]: end };
  } catch (error) {
    await kill(); // so that all that it printed is there
    const { begun } = jail.status();
    await end();
    throw begun === 0 ? setupFailed(lines, error) : noDevice(path, lines, error);
  }
}

async function started(stage: string, submitted: Bind, words: readonly [inside: string, named: string]) {
  await writeOwnPart(stage);
  const jail = await openJail({
    readOnly: [
      submitted,
      { from: process.execPath, at: NODE },
      { from: esbuildProgram(), at: TRANSLATOR },
      { from: join(stage, 'vblk.mjs'), at: LIBRARY },
      { from: join(stage, 'main.mjs'), at: MAIN },
    ],
    descriptors: [3],
    limits: deviceLimits,
  });
  const lines: string[] = [];
  const splitter = new LineSplitter((line) => {
    lines.push(line.slice(0, LONGEST_LINE));
    if (lines.length > KEPT_LINES) lines.shift();
  });
  const follow = (stream: NodeJS.ReadableStream) =>
    void stream.on('data', (chunk: Buffer) => splitter.push(chunk));
  const command = [...jail.prefix, '/bin/sh', '-euc', SCRIPT, 'sh', ...words];
  const { channels, kill } = spawnQemu(command, { stdio: 'pipe', follow, lines: () => lines }, 1);
  const [channel] = channels;
  if (channel === undefined) throw new TypeError('the process has no descriptor 3');
  return { jail, lines, channel, kill };
}

const NODE = '/run/lab/node';
const TRANSLATOR = '/run/lab/esbuild';
const LIBRARY = '/run/lab/vblk.mjs';
const MAIN = '/run/lab/main.mjs';
const KEPT_LINES = 30;
const LONGEST_LINE = 400;

/** Node reserves much more memory than it uses. */
const deviceLimits: JailLimits = {
  memory: 2048 * 1024 ** 2,
  processes: 64,
  fileSize: 64 * 1024 ** 2,
  scratch: 16 * 1024 ** 2,
  tmp: 64 * 1024 ** 2,
  cpuSeconds: 600,
};

const OPTIONS = '--bundle --platform=node --format=esm --target=node20 --log-level=error';
/** Its arguments: the file, and words in the name of the export. */
const SCRIPT = `${TRANSLATOR} "$1" ${OPTIONS} --alias:lab/vblk=${LIBRARY} --outfile=/tmp/device.mjs 3>&-
exec ${NODE} --max-old-space-size=512 ${MAIN} /tmp/device.mjs "$2"`;

/** The library as the device sees it, and the program that calls the device: our own code, in one file each. */
async function writeOwnPart(stage: string): Promise<void> {
  const { build } = await import('esbuild');
  const common = {
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'silent',
  } as const;
  const nbd = join(packageRoot, 'src/nbd');
  await build({ ...common, entryPoints: [join(nbd, 'vblk.ts')], outfile: join(stage, 'vblk.mjs') });
  const contents = `import { Socket } from 'node:net';
import { answerFor } from './remote/near.ts';
import { deviceOf, exportNamed } from './device-of.ts';
const stream = new Socket({ fd: 3, readable: true, writable: true });
const [, , file, named] = process.argv;
await answerFor(stream, async () => await deviceOf(exportNamed(await import(file), named), 'the file'));`;
  const stdin = { contents, resolveDir: nbd, loader: 'ts' } as const;
  await build({ ...common, stdin, outfile: join(stage, 'main.mjs') });
}

/** The program itself, which needs nothing beside it. */
function esbuildProgram(): string {
  const require = createRequire(join(packageRoot, 'package.json'));
  const name = `@esbuild/${process.platform}-${process.arch}`;
  return join(dirname(require.resolve(`${name}/package.json`)), 'bin/esbuild');
}

function noDevice(path: string, lines: readonly string[], cause: unknown): LabError {
  const message = cause instanceof Error ? cause.message : String(cause);
  return new LabError({
    code: 'nbd/no-device',
    blame: 'submission',
    fact: `${path} holds no block device that can be served`,
    evidence: [...message.split('\n').slice(0, 5), ...lines.slice(-12)],
    next: 'let the file, alone, export as default a class, an object or a function with blockSize(), blocks() and read()',
    cause,
  });
}
