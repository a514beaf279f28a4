import type { WriteStream } from 'node:fs';
import type { Duplex } from 'node:stream';
import { inTime } from '../deadline.js';
import { LabError } from '../errors.js';
import { killGroup } from '../host/run.js';
import type { Monitor } from '../monitor/monitor.js';
import { parseUsernet } from '../monitor/parse.js';
import type { Timeouts } from '../timeouts.js';
import type { ConsoleLog } from './console-log.js';
import { resume, watchForHalt } from './halt.js';
import type { DeviceOwner, MachineFiles, MachineSpec } from './spec.js';

/** How QEMU ended; `lines` are the last of its own output, or the report of a sanitizer. */
export interface QemuExit {
  readonly code: number | null;
  readonly signal: string | null;
  readonly lines: readonly string[];
}

/** A QEMU process, our child or one that we found running. */
export interface QemuProcess {
  readonly pid: number;
  /** Never rejects. */
  readonly exited: Promise<QemuExit>;
  /** Lets the process outlive us. */
  release(): void;
}

export interface MachineParts {
  readonly spec: Pick<MachineSpec, 'name' | 'owner'>;
  readonly files: MachineFiles;
  readonly monitor: Monitor;
  readonly consoleLog: ConsoleLog;
  readonly qemu: QemuProcess;
  readonly qmpLog?: WriteStream;
  /** Of a sealed machine: sockets that lead to the guest's SSH server, each good for one connection. */
  readonly relays?: readonly Duplex[];
  readonly timeouts: Timeouts;
}

/**
 * A live QEMU process with its monitor and console. Owns them: `stop()` ends the process, `release()` lets it live
 * on; disposing does the former unless the latter was done.
 */
export class Machine implements AsyncDisposable {
  readonly name: string;
  /** Who is charged with what a sanitizer finds in the lab's devices. */
  readonly owner: DeviceOwner | undefined;
  readonly files: MachineFiles;
  readonly monitor: Monitor;
  readonly consoleLog: ConsoleLog;
  readonly pid: number;
  readonly exited: Promise<QemuExit>;
  /** Rejects with the reason when QEMU has stopped the guest because the host's disk is full. Never "unhandled". */
  readonly halted: Promise<never>;
  readonly #parts: MachineParts;
  readonly #relays: Duplex[];
  #over = false;

  constructor(parts: MachineParts) {
    this.#parts = parts;
    this.name = parts.spec.name;
    this.owner = parts.spec.owner;
    this.files = parts.files;
    this.monitor = parts.monitor;
    this.consoleLog = parts.consoleLog;
    this.pid = parts.qemu.pid;
    this.exited = parts.qemu.exited;
    this.halted = watchForHalt(parts.monitor, this.name, this.files.dir);
    this.#relays = [...(parts.relays ?? [])];
    for (const relay of this.#relays) relay.on('error', () => {}); // of a jail that ended before it was used
  }

  /** Lets a guest go on that QEMU stopped because the host's disk was full. Returns and throws as `resume` does. */
  async resume(): Promise<boolean> {
    return await resume(this.monitor, this.name, this.files.dir);
  }

  /** A way to a sealed machine's SSH server that nobody has used yet; undefined when all are used up. */
  takeRelay(): Duplex | undefined {
    return this.#relays.shift();
  }

  get console() {
    return this.consoleLog.console;
  }

  /** The host port that QEMU forwards to the guest's port 22. */
  async sshPort(): Promise<number> {
    const text = await this.monitor.execute('human-monitor-command', { 'command-line': 'info usernet' });
    const forward = parseUsernet(String(text)).find((entry) => entry.guestPort === 22);
    if (forward !== undefined) return forward.hostPort;
    throw new LabError({
      code: 'machine/no-forward',
      blame: 'host',
      fact: `QEMU does not list a forwarded SSH port for the machine ${this.name}`,
      evidence: String(text).split('\n'),
      next: `read ${this.files.dir}/qmp.log`,
    });
  }

  /**
   * Ends the machine: `shutdown` asks the guest (file systems clean; it rejects when the guest cannot be asked), then
   * QMP `quit`, then SIGKILL, each with its deadline.
   *
   * @returns which of the three ended it.
   */
  async stop(shutdown?: () => Promise<void>): Promise<'guest' | 'quit' | 'killed'> {
    const { timeouts } = this.#parts;
    const gone = this.exited.then(() => true);
    let how: 'guest' | 'quit' | 'killed' = 'guest';
    const asked = shutdown === undefined ? false : await Promise.race([shutdown().then(yes, no), gone]);
    if (!asked || !(await within(gone, timeouts.powerdown))) {
      how = 'quit';
      // The connection closes as the answer to `quit`; that QEMU is gone is seen from its exit.
      await Promise.race([
        this.monitor.execute('quit', {}, { timeout: timeouts.quit }).catch(() => {}),
        gone,
      ]);
      if (!(await within(gone, timeouts.quit))) {
        how = 'killed';
        killGroup(this.pid);
        await gone;
      }
    }
    await this.#close();
    return how;
  }

  /** Lets QEMU live on and closes what this process holds of it. */
  async release(): Promise<void> {
    this.#parts.qemu.release();
    await this.#close();
  }

  async #close(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    await this.monitor.close();
    await this.consoleLog.close();
    this.#parts.qmpLog?.end();
    for (const relay of this.#parts.relays ?? []) relay.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#over) await this.stop();
  }
}

const yes = () => true;

/** A guest that cannot be reached cannot be waited for. */
const no = () => false;

/** True when `event` happened within `ms` milliseconds. */
async function within(event: Promise<boolean>, ms: number): Promise<boolean> {
  return await inTime(event, ms, no);
}
