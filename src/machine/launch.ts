import { spawn } from 'node:child_process';
import { createWriteStream, readFileSync } from 'node:fs';
import { mkdir, open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { LabError } from '../errors.js';
import { addToLeash, dropFromLeash } from '../host/leash.js';
import { killGroup, quote } from '../host/run.js';
import { Monitor } from '../monitor/monitor.js';
import type { Timeouts } from '../timeouts.js';
import { fileNames, MONITOR_FD, qemuArguments } from './arguments.js';
import { ConsoleLog } from './console-log.js';
import { Machine, type QemuExit, type QemuProcess } from './machine.js';
import type { MachineFiles, MachineSpec } from './spec.js';

export interface LaunchOptions {
  readonly timeouts: Timeouts;
  readonly signal: AbortSignal;
}

/**
 * Starts QEMU and returns when its monitor has answered. The console is followed from its first byte.
 *
 * QEMU dies with this process (however that dies) until `Machine.release()` lets it live on.
 *
 * @throws LabError `machine/start` with QEMU's own words, `machine/port-taken`.
 */
export async function launch(
  spec: MachineSpec,
  files: MachineFiles,
  { timeouts, signal }: LaunchOptions,
): Promise<Machine> {
  await prepareFolder(files);
  const args = qemuArguments(spec, files);
  await writeFile(join(files.dir, 'qemu.sh'), commandLine(spec.qemu.binary, args), { mode: 0o755 });
  const qmpLog = createWriteStream(join(files.dir, 'qmp.log'));
  const consoleLog = new ConsoleLog(join(files.dir, fileNames.console), 0);
  const qemu = await spawnQemu(spec, args, files);
  try {
    const monitor = await Monitor.attach(qemu.channel, {
      timeouts,
      signal,
      log: (direction, line) => void qmpLog.write(`${direction} ${line}\n`),
    });
    return new Machine({ spec, files, monitor, consoleLog, qemu: qemu.process, qmpLog, timeouts });
  } catch (error) {
    if (qemu.process.pid > 0) killGroup(qemu.process.pid);
    const exit = await qemu.process.exited;
    await consoleLog.close();
    qmpLog.end();
    // The monitor's channel and the process end together; QEMU's own words say more than a closed channel.
    const closed = error instanceof LabError && error.code === 'monitor/closed';
    throw closed ? startFailure(spec, exit, files) : error;
  }
}

async function prepareFolder(files: MachineFiles): Promise<void> {
  await mkdir(files.dir, { recursive: true });
  await rm(join(files.sockets, fileNames.consoleSocket), { force: true });
  await rm(join(files.sockets, fileNames.monitorSocket), { force: true });
  await writeFile(join(files.dir, fileNames.console), ''); // so that it can be followed before QEMU opens it
}

/** A script that shows, and on a descriptor-less monitor runs, exactly what we ran. */
function commandLine(binary: string, args: readonly string[]): string {
  return `#!/bin/sh\n# descriptor ${MONITOR_FD} is the launcher's monitor\n${[binary, ...args].map(quote).join(' ')}\n`;
}

async function spawnQemu(
  spec: MachineSpec,
  args: readonly string[],
  files: MachineFiles,
): Promise<{ process: QemuProcess; channel: Duplex }> {
  const log = join(files.dir, fileNames.output);
  const output = await open(log, 'w');
  const child = spawn(spec.qemu.binary, args, {
    detached: true,
    stdio: ['ignore', output.fd, output.fd, 'pipe'],
  });
  await output.close();
  const { pid } = child;
  if (pid !== undefined) addToLeash(pid);
  const exited = new Promise<QemuExit>((resolve) => {
    const end = (code: number | null, signal: string | null, error?: Error) => {
      if (pid !== undefined) dropFromLeash(pid);
      const lines = error === undefined ? lastLines(log) : [error.message];
      resolve({ code, signal, lines });
    };
    child.on('error', (error) => end(null, null, error));
    child.on('exit', (code, signal) => end(code, signal));
  });
  const channel = child.stdio[MONITOR_FD] as unknown as Duplex;
  const release = () => {
    if (pid !== undefined) dropFromLeash(pid);
    channel.destroy();
    child.unref();
  };
  return { process: { pid: pid ?? -1, exited, release }, channel };
}

function lastLines(log: string): string[] {
  return readFileSync(log, 'utf8').trimEnd().split('\n').slice(-20);
}

function startFailure(spec: MachineSpec, { lines }: QemuExit, files: MachineFiles): LabError {
  const taken = lines.some((line) => line.includes('Could not set up host forwarding rule'));
  if (taken) {
    return new LabError({
      code: 'machine/port-taken',
      blame: 'user',
      fact: `port ${spec.sshPort} of 127.0.0.1 cannot be forwarded to the guest: it is taken, or not allowed`,
      evidence: lines,
      next: `see who has it with: ss -ltnp 'sport = :${spec.sshPort}'; or leave --port out and QEMU chooses a free one`,
    });
  }
  const unknown = lines
    .map((line) => /'(\S+)' is not a valid device model name/.exec(line)?.[1])
    .find(Boolean);
  if (unknown !== undefined) {
    return new LabError({
      code: 'machine/no-device',
      blame: 'user',
      fact: `this QEMU has no device ${unknown}: its source file was not built`,
      evidence: lines,
      next: 'check that the patch also adds the device to hw/misc/Kconfig and hw/misc/meson.build',
    });
  }
  return new LabError({
    code: 'machine/start',
    blame: 'host',
    fact: `QEMU ended at once instead of starting the machine ${spec.name}`,
    evidence: lines.join('') === '' ? ['(it printed nothing)'] : lines,
    next: `run the saved command by hand: ${join(files.dir, 'qemu.sh')}`,
  });
}
