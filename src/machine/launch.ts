import { mkdir, open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { LabError } from '../errors.js';
import { openLog } from '../host/log.js';
import { quote } from '../host/run.js';
import { Monitor } from '../monitor/monitor.js';
import type { Timeouts } from '../timeouts.js';
import { fileNames, MONITOR_FD, qemuArguments } from './arguments.js';
import { ConsoleLog } from './console-log.js';
import { Machine, type QemuExit } from './machine.js';
import { missingDevice, type SpawnedQemu, spawnQemu } from './process.js';
import { environmentOf, findReport, sanitizerError } from './sanitizers.js';
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
  await writeFile(join(files.dir, 'qemu.sh'), commandLine(spec, args), { mode: 0o755 });
  const qmpLog = openLog(join(files.dir, 'qmp.log'), 'w');
  const consoleLog = new ConsoleLog(join(files.dir, fileNames.console), 0);
  const qemu = await spawnMachine(spec, args, files);
  try {
    const [channel, ...relays] = qemu.channels as [Duplex, ...Duplex[]];
    const monitor = await Monitor.attach(channel, {
      timeouts,
      signal,
      log: (direction, line) => void qmpLog.write(`${direction} ${line}\n`),
    });
    return new Machine({ spec, files, monitor, consoleLog, qemu: qemu.process, relays, qmpLog, timeouts });
  } catch (error) {
    const exit = await qemu.kill();
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
function commandLine({ sealed, qemu }: MachineSpec, args: readonly string[]): string {
  const options = Object.entries(environmentOf(qemu));
  const jail = sealed === undefined ? [] : ['# it ran confined; the jail is not part of this script'];
  const command = [...options.map((pair) => pair.join('=')), ...[qemu.binary, ...args].map(quote)].join(' ');
  return ['#!/bin/sh', `# descriptor ${MONITOR_FD} is the launcher's monitor`, ...jail, command, ''].join(
    '\n',
  );
}

/** QEMU may outlive us, so its output goes to a file. */
async function spawnMachine(
  spec: MachineSpec,
  args: readonly string[],
  files: MachineFiles,
): Promise<SpawnedQemu> {
  const log = join(files.dir, fileNames.output);
  const output = await open(log, 'w');
  const sink = { stdio: output.fd, lines: () => lastLines(log) };
  const { wrap = [], relays = 0 } = spec.sealed ?? {};
  const qemu = spawnQemu([...wrap, spec.qemu.binary, ...args], sink, 1 + relays, environmentOf(spec.qemu));
  await output.close();
  return qemu;
}

const LAST_BYTES = 64 * 1024;

/** What QEMU last printed: the report of a sanitizer or 20 lines. A device gone wild may have printed more than fits into memory. */
export async function lastLines(log: string): Promise<readonly string[]> {
  await using file = await open(log, 'r');
  const { size } = await file.stat();
  const { buffer, bytesRead } = await file.read(
    Buffer.alloc(LAST_BYTES),
    0,
    LAST_BYTES,
    Math.max(0, size - LAST_BYTES),
  );
  const lines = buffer.toString('utf8', 0, bytesRead).trimEnd().split('\n');
  return findReport(lines)?.lines ?? lines.slice(-20);
}

function startFailure(spec: MachineSpec, exit: QemuExit, files: MachineFiles): LabError {
  const { lines } = exit;
  const found = sanitizerError(exit, spec.owner, join(files.dir, fileNames.output));
  if (found !== undefined) return found;
  const network = networkFailure(spec, lines);
  if (network !== undefined) return network;
  const missing = missingDevice(exit, 'user');
  if (missing !== undefined) return missing;
  return new LabError({
    code: 'machine/start',
    blame: 'host',
    fact: `QEMU ended at once instead of starting the machine ${spec.name}`,
    evidence: lines.join('') === '' ? ['(it printed nothing)'] : lines,
    next: `run the saved command by hand: ${join(files.dir, 'qemu.sh')}`,
  });
}

/** What QEMU's last words say about the host's side of the network; undefined when that is not the matter. */
function networkFailure({ net }: MachineSpec, evidence: readonly string[]): LabError | undefined {
  const said = (words: string) => evidence.some((line) => line.includes(words));
  if (net.kind === 'user' && said('Could not set up host forwarding rule')) {
    return new LabError({
      code: 'machine/port-taken',
      blame: 'user',
      fact: `port ${net.sshPort} of 127.0.0.1 cannot be forwarded to the guest: it is taken, or not allowed`,
      evidence,
      next: `see who has it with: ss -ltnp 'sport = :${net.sshPort}'; or leave --port out and QEMU chooses a free one`,
    });
  }
  if (net.kind === 'tap' && said('could not configure /dev/net/tun')) {
    return new LabError({
      code: 'machine/tap',
      blame: 'user',
      fact: `QEMU cannot open the tap device ${net.device}: another process has it, or it is not allowed`,
      evidence,
      next: 'see what it is with: ip -d link; or use --net user',
    });
  }
  return undefined;
}
