import { rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, extname, join, resolve } from 'node:path';
import { LabError } from '../errors.js';
import { LineSplitter } from '../host/lines.js';
import { packageRoot } from '../host/paths.js';
import { spawnQemu } from '../machine/process.js';
import type { BlockDevice } from '../nbd/device.js';
import { remoteDevice } from '../nbd/remote/far.js';
import type { Timeouts } from '../timeouts.js';
import { openJail, setupFailed } from './jail.js';
import type { JailLimits } from './limits.js';
import { makeStage } from './stage.js';

/** A block device whose code runs in a jail. Disposing of it ends that code. */
export interface SubmittedDevice extends AsyncDisposable {
  readonly device: BlockDevice;
  /** The last lines that it printed. */
  readonly said: () => readonly string[];
}

export interface SubmittedDeviceOptions {
  /** Milliseconds for one operation; after one that took longer, all of them fail. */
  readonly patience: number;
  readonly timeouts: Timeouts;
}

/**
 * Runs a device's file, one TypeScript or JavaScript file that nobody trusts, in a jail, translation included: what it
 * imports is looked for there. Whatever it does, its operations end, at worst with EIO.
 *
 * @throws LabError `nbd/no-device` (blame submission) with what it printed; `sandbox/setup`.
 */
export async function openSubmittedDevice(
  path: string,
  { patience, timeouts }: SubmittedDeviceOptions,
): Promise<SubmittedDevice> {
  const stage = await makeStage('jail');
  const inside = `/submission/device${extname(path)}`;
  const { jail, lines, channel, kill } = await started(stage, resolve(path), inside).catch(async (error) => {
    await rm(stage, { recursive: true, force: true });
    throw error;
  });
  const end = async () => {
    await kill();
    await jail[Symbol.asyncDispose]();
    await rm(stage, { recursive: true, force: true });
  };
  try {
    const device = await remoteDevice(channel, { patience, start: timeouts.hostTool });
    return { device, said: () => lines, [Symbol.asyncDispose]: end };
  } catch (error) {
    await kill(); // so that all that it printed is there
    const { begun } = jail.status();
    await end();
    throw begun === 0 ? setupFailed(lines, error) : noDevice(path, lines, error);
  }
}

async function started(stage: string, path: string, inside: string) {
  await writeOwnPart(stage);
  const jail = await openJail({
    readOnly: [
      { from: path, at: inside },
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
  const command = [...jail.prefix, '/bin/sh', '-euc', script(inside)];
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

function script(inside: string): string {
  const options = '--bundle --platform=node --format=esm --target=node20 --log-level=error';
  return `${TRANSLATOR} ${inside} ${options} --alias:lab/vblk=${LIBRARY} --outfile=/tmp/device.mjs 3>&-
exec ${NODE} --max-old-space-size=512 ${MAIN} /tmp/device.mjs`;
}

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
import { deviceOf } from './device-of.ts';
const stream = new Socket({ fd: 3, readable: true, writable: true });
await answerFor(stream, async () => await deviceOf(await import(process.argv[2]), 'the file'));`;
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
