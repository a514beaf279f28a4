import { setMaxListeners } from 'node:events';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { type Blame, LabError } from '../errors.js';
import { LineSplitter } from '../host/lines.js';
import { Monitor } from '../monitor/monitor.js';
import { QTest } from '../qtest/qtest.js';
import type { Timeouts } from '../timeouts.js';
import type { QemuExit } from './machine.js';
import {
  describeExit,
  missingDevice,
  type OutputSink,
  type SpawnedQemu,
  spawnQemu,
  wasCrash,
} from './process.js';
import { beginsReport, environmentOf, REPORT_LINES } from './sanitizers.js';
import type { QemuInstallation } from './spec.js';

/** A machine without guest, disk and network: a chip set, a PCI bus, and the devices named here. */
export interface BareSpec {
  readonly qemu: Pick<QemuInstallation, 'binary' | 'dataDirs' | 'sanitized'>;
  /** `-device` arguments, in the order of their PCI slots. */
  readonly devices: readonly string[];
  /** Further arguments of QEMU, e.g. `-sandbox on`. */
  readonly extra?: readonly string[];
  /** Command put before QEMU's own, such as a sandbox; descriptors 3 and 4 must reach QEMU. */
  readonly wrap?: readonly string[];
}

export interface BareOptions {
  readonly timeouts: Timeouts;
  readonly signal: AbortSignal;
  /** Whom a QEMU that does not start, dies or hangs is charged to; default `submission`. */
  readonly blame?: Blame;
}

const QTEST_FD = 3;
const MONITOR_FD = 4;

/**
 * Starts QEMU with nothing in it that executes; device registers are reached by qtest, everything else by QMP. There
 * are no files and no sockets: both come over inherited descriptors.
 *
 * @throws LabError `machine/spawn` (blame host: no process), `machine/no-device`, `machine/start` (QEMU refused),
 *   `machine/start-crashed`, `machine/start-timeout`, each with QEMU's last lines; `interrupted`.
 */
export async function launchBare(spec: BareSpec, options: BareOptions): Promise<BareMachine> {
  const { timeouts, blame = 'submission' } = options;
  const signal = AbortSignal.any([options.signal]);
  setMaxListeners(0, signal); // each register access in flight listens
  const command = [...(spec.wrap ?? []), spec.qemu.binary, ...bareArguments(spec)];
  const qemu = spawnQemu(command, new Tail(timeouts), 2, environmentOf(spec.qemu));
  const [registers, control] = qemu.channels;
  if (qemu.process.pid < 0 || registers === undefined || control === undefined) {
    throw notSpawned(command, await qemu.process.exited);
  }
  const qtest = QTest.attach(registers, {
    timeouts: { ...timeouts, qtestCommand: timeouts.bareCommand },
    signal,
    blame,
  });
  try {
    const quick = { ...timeouts, qmpCommand: timeouts.qtestCommand };
    const monitor = await Monitor.attach(control, { timeouts: quick, signal, blame });
    return new BareMachine(spec, qemu, qtest, monitor, timeouts);
  } catch (error) {
    await qtest.close();
    const closed = error instanceof LabError && error.code === 'monitor/closed';
    const exit = await (closed ? qemu.collect(timeouts.dying) : qemu.kill());
    throw startFailure(error, exit, blame);
  }
}

/** A live QEMU without a guest. Disposing it kills its process group and waits for the end. */
export class BareMachine implements AsyncDisposable {
  readonly qtest: QTest;
  readonly monitor: Monitor;
  readonly pid: number;
  readonly devices: readonly string[];
  /** How QEMU ended, with its last lines; never rejects. */
  readonly exited: Promise<QemuExit>;
  readonly #qemu: SpawnedQemu;
  readonly #timeouts: Timeouts;

  constructor(spec: BareSpec, qemu: SpawnedQemu, qtest: QTest, monitor: Monitor, timeouts: Timeouts) {
    this.#qemu = qemu;
    this.#timeouts = timeouts;
    this.qtest = qtest;
    this.monitor = monitor;
    this.pid = qemu.process.pid;
    this.devices = spec.devices;
    this.exited = qemu.process.exited;
  }

  /** Ends QEMU, whatever state it is in, and tells how it ended: `SIGKILL` when it was still alive. */
  async kill(): Promise<QemuExit> {
    return await this.#close(await this.#qemu.kill());
  }

  /** Tells how a QEMU ended that has closed a connection; one that lives on all the same is killed after a moment. */
  async collect(): Promise<QemuExit> {
    return await this.#close(await this.#qemu.collect(this.#timeouts.dying));
  }

  async #close(exit: QemuExit): Promise<QemuExit> {
    await this.qtest.close();
    await this.monitor.close();
    return exit;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/** QEMU's argument list for a bare machine. Pure. */
export function bareArguments({ qemu, devices, extra = [] }: BareSpec): string[] {
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none'],
    ...['-machine', 'pc', '-accel', 'qtest'],
    ...qemu.dataDirs.flatMap((dir) => ['-L', dir]),
    ...extra,
    ...devices.flatMap((device) => ['-device', device]),
    // QEMU listens to a qtest socket only when the chardev has this very id.
    ...['-chardev', `socket,id=qtest,fd=${QTEST_FD}`, '-qtest', 'chardev:qtest', '-qtest-log', 'none'],
    ...['-chardev', `socket,id=qmp,fd=${MONITOR_FD}`, '-mon', 'chardev=qmp,mode=control'],
  ];
}

const KEPT_LINES = 20;
const KEPT_COLUMNS = 400;

/** The last lines that QEMU printed, however much that was; from the first report of a sanitizer on, the first ones. */
class Tail implements OutputSink {
  readonly stdio = 'pipe';
  readonly #timeouts: Timeouts;
  readonly #streams: Readable[] = [];
  readonly #lines: string[] = [];
  #reporting = false;

  constructor(timeouts: Timeouts) {
    this.#timeouts = timeouts;
  }

  follow = (stream: Readable): void => {
    this.#streams.push(stream);
    const splitter = new LineSplitter((line) => this.#keep(line.slice(0, KEPT_COLUMNS)));
    stream.on('data', (chunk: Buffer) => splitter.push(chunk));
    stream.on('end', () => splitter.end());
    stream.on('error', () => {}); // what was read until then is kept
  };

  #keep(line: string): void {
    if (!this.#reporting && beginsReport(line)) {
      this.#reporting = true;
      this.#lines.length = 0;
    }
    if (this.#reporting && this.#lines.length >= REPORT_LINES) return;
    this.#lines.push(line);
    if (!this.#reporting && this.#lines.length > KEPT_LINES) this.#lines.shift();
  }

  /** A process that QEMU left behind may hold the pipes open: they are not waited for any longer than a moment. */
  lines = async (): Promise<readonly string[]> => {
    const signal = AbortSignal.timeout(this.#timeouts.dying);
    await Promise.all(this.#streams.map((stream) => finished(stream, { signal }).catch(() => {})));
    for (const stream of this.#streams) stream.destroy();
    return this.#lines;
  };
}

function notSpawned([program]: readonly string[], exit: QemuExit): LabError {
  return new LabError({
    code: 'machine/spawn',
    blame: 'host',
    fact: `${program} could not be started`,
    evidence: exit.lines,
    next: '`lab doctor` tells what is missing on this host',
  });
}

function startFailure(error: unknown, exit: QemuExit, blame: Blame): unknown {
  const code = error instanceof LabError ? error.code : undefined;
  const evidence = exit.lines;
  const next = 'read what QEMU says, and look at the realize function of the device';
  if (code === 'monitor/timeout') {
    const fact = 'QEMU did not come up in time: it hangs while it makes the devices';
    return new LabError({ code: 'machine/start-timeout', blame, fact, evidence, next, cause: error });
  }
  if (code !== 'monitor/closed' && code !== 'monitor/protocol') return error;
  const missing = blame === 'submission' ? missingDevice(exit, blame) : undefined;
  if (missing !== undefined) return missing;
  const fact = `QEMU ${describeExit(exit)} instead of starting`;
  const kind = wasCrash(exit) ? 'machine/start-crashed' : 'machine/start';
  return new LabError({ code: kind, blame, fact, evidence, next, cause: error });
}
