import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Duplex, Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { LabError } from '../errors.js';
import { addToLeash, dropFromLeash } from '../host/leash.js';
import { killGroup } from '../host/run.js';
import type { QemuExit, QemuProcess } from './machine.js';
import { describeReport, findReport } from './sanitizers.js';

/** Where QEMU's own output goes, and how its last lines are had once it has ended. */
export interface OutputSink {
  /** An open file, or `pipe` for a stream that is handed to `follow`. */
  readonly stdio: number | 'pipe';
  readonly follow?: (stream: Readable) => void;
  /** Called when the process has ended. */
  readonly lines: () => readonly string[] | Promise<readonly string[]>;
}

export interface SpawnedQemu {
  readonly process: QemuProcess;
  /** Our ends of descriptors 3, 4, … of the child. */
  readonly channels: readonly Duplex[];
  /** SIGKILL to its process group unless it has ended already; waits for the end. */
  readonly kill: () => Promise<QemuExit>;
  /**
   * The same for a QEMU that has closed its connections: it gets `grace` milliseconds to end by itself, so that the
   * way in which it did is known. A wrapper around it notices its end a little later than we do.
   */
  readonly collect: (grace: number) => Promise<QemuExit>;
}

/**
 * Starts QEMU in a process group of its own and on the leash: until it is released it dies with this process.
 *
 * @param command QEMU and its arguments, after those of a wrapper.
 * @param channels number of descriptors, from 3 on, that are connected to us.
 * @param environment variables beyond our own.
 */
export function spawnQemu(
  command: readonly string[],
  output: OutputSink,
  channels: number,
  environment: Readonly<Record<string, string>> = {},
): SpawnedQemu {
  const [program = '', ...args] = command;
  const child = spawn(program, args, {
    detached: true,
    env: { ...process.env, ...environment },
    stdio: ['ignore', output.stdio, output.stdio, ...Array<'pipe'>(channels).fill('pipe')],
  });
  for (const stream of [child.stdout, child.stderr]) if (stream !== null) output.follow?.(stream);
  const { pid } = child;
  if (pid !== undefined) addToLeash(pid);
  const exited = exitOf(child, output);
  const ends = Array.from({ length: channels }, (_, index) => child.stdio[3 + index] as unknown as Duplex);
  const release = () => {
    if (pid !== undefined) dropFromLeash(pid);
    for (const channel of ends) channel.destroy();
    child.unref();
  };
  const kill = async () => {
    const alive = child.exitCode === null && child.signalCode === null;
    if (pid !== undefined && alive) killGroup(pid);
    return await exited;
  };
  const collect = async (grace: number) => {
    const stop = new AbortController();
    const late = delay(grace, undefined, { signal: stop.signal }).catch(() => {});
    await Promise.race([exited, late]);
    stop.abort();
    return await kill();
  };
  return { process: { pid: pid ?? -1, exited, release }, channels: ends, kill, collect };
}

/**
 * How QEMU ended, as the end of a sentence: `was killed by SIGSEGV`, `exited with code 1`, `was ended by
 * AddressSanitizer: …`. A wrapper such as bubblewrap reports the death by signal n of what it wraps as exit code 128 + n.
 */
export function describeExit({ code, signal, lines }: QemuExit): string {
  const report = findReport(lines);
  if (report !== undefined) return `was ended by ${describeReport(report)}`;
  const killer = signal ?? signalOf(code);
  if (killer !== undefined) return `was killed by ${killer}`;
  return code === null ? 'could not be started' : `exited with code ${code}`;
}

/** Whether QEMU died by a signal, as after a bad memory access or a failed assertion, or by a sanitizer. */
export function wasCrash({ code, signal, lines }: QemuExit): boolean {
  return (signal ?? signalOf(code)) !== undefined || findReport(lines) !== undefined;
}

function signalOf(code: number | null): string | undefined {
  if (code === null || code <= 128) return undefined;
  return Object.entries(constants.signals).find(([, number]) => number === code - 128)?.[0];
}

/** What QEMU's last words say about a device that was not compiled into it; undefined when that is not the matter. */
export function missingDevice({ lines }: QemuExit, blame: 'user' | 'submission'): LabError | undefined {
  const name = lines.map((line) => /'(\S+)' is not a valid device model name/.exec(line)?.[1]).find(Boolean);
  if (name === undefined) return undefined;
  return new LabError({
    code: 'machine/no-device',
    blame,
    fact: `this QEMU has no device ${name}: its source file was not built`,
    evidence: lines,
    next: 'check that the patch also adds the device to hw/misc/Kconfig and hw/misc/meson.build',
  });
}

function exitOf(child: ChildProcess, output: OutputSink): Promise<QemuExit> {
  const { pid } = child;
  return new Promise((resolve) => {
    child.on('error', (error) => {
      if (pid === undefined) resolve({ code: null, signal: null, lines: [error.message] });
    });
    child.on('exit', async (code, signal) => {
      if (pid !== undefined) {
        killGroup(pid); // what a device started and left behind
        dropFromLeash(pid);
      }
      resolve({ code, signal, lines: await output.lines() });
    });
  });
}
