import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAbort, LabError } from '../../../errors.js';
import { type BareMachine, launchBare } from '../../../machine/bare.js';
import type { QemuExit } from '../../../machine/machine.js';
import type { QemuInstallation } from '../../../machine/spec.js';
import type { Timeouts } from '../../../timeouts.js';
import { BRIDGE } from './generate.js';
import { isQTest, type Operation, type QTestOperation, qtestCommands } from './operation.js';
import { RAM } from './places.js';

/** What operations are played on. */
export interface Stage {
  readonly qemu: Pick<QemuInstallation, 'binary' | 'dataDirs' | 'sanitized'>;
  /** One or two devices, as for `-device`; the second one is put behind a bridge. */
  readonly devices: readonly string[];
  readonly timeouts: Timeouts;
  readonly signal: AbortSignal;
}

/** A QEMU that did not survive. */
export interface Death {
  /** How many operations were carried out before the one during which it died; those in the background count not. */
  readonly survived: number;
  /** What failed first. */
  readonly error: LabError;
  readonly exit: QemuExit;
}

/** Slots of the devices: on bus 0, and behind the bridge. */
export const SLOTS = [4, 1] as const;

/** Answers that are waited for at once. */
const BATCH = 64;

/** ACPI PCI hot-plug of the `pc` machine (docs/specs/acpi_pci_hotplug.rst): which bus, and which slots to eject. */
const SELECT_BUS = 0xae10;
const EJECT = 0xae08;

/** Plays operations on a bare QEMU until it dies. */
export class Player implements AsyncDisposable {
  readonly #stage: Stage;
  readonly #plugged: Set<number>;
  /** Sums of what the devices counted on the machines that are gone. */
  readonly #counted: Record<string, number> = {};
  #machine: BareMachine;
  #folder: string | undefined;

  /** @throws LabError as `launchBare` does. */
  static async start(stage: Stage): Promise<Player> {
    return new Player(stage, await launchStage(stage));
  }

  private constructor(stage: Stage, machine: BareMachine) {
    this.#stage = stage;
    this.#machine = machine;
    this.#plugged = new Set(stage.devices.keys());
  }

  /**
   * Plays `operations` until they end, or `enough` says so, or QEMU dies.
   *
   * @param onPlayed is told each operation before it is carried out.
   * @throws LabError `interrupted`.
   */
  async play(
    operations: Iterable<Operation>,
    enough: () => boolean = () => false,
    onPlayed: (operation: Operation) => void = () => {},
  ): Promise<Death | undefined> {
    let survived = 0;
    const count = (more: number) => {
      survived += more;
    };
    const batch: QTestOperation[] = [];
    try {
      for (const operation of operations) {
        onPlayed(operation);
        if (isQTest(operation)) batch.push(operation);
        if (isQTest(operation) && batch.length < BATCH) continue;
        await this.#send(batch.splice(0), count);
        if (!isQTest(operation)) {
          await this.#command(operation);
          count(1);
        }
        if (enough()) break;
      }
      await this.#send(batch, count);
      await this.#machine.monitor.execute('query-status'); // what is left for the background has had a turn
      return undefined;
    } catch (error) {
      if (isAbort(error) || !(error instanceof LabError)) throw error;
      const closed = error.code.endsWith('/closed');
      const exit = await (closed ? this.#machine.collect() : this.#machine.kill());
      return { survived, error, exit };
    }
  }

  /** Sends a batch, waits for all answers, and counts the operations that were answered, be it by a refusal. */
  async #send(batch: readonly QTestOperation[], count: (more: number) => void): Promise<void> {
    const commands = batch.map(qtestCommands);
    const { answered, error } = await this.#machine.qtest.batch(commands.flat());
    if (error === undefined || error.code === 'qtest/command') return count(batch.length);
    let left = answered;
    const whole = commands.findIndex((lines) => {
      left -= lines.length;
      return left < 0;
    });
    count(Math.max(0, whole));
    throw error;
  }

  async #command(operation: Exclude<Operation, QTestOperation>): Promise<void> {
    switch (operation.kind) {
      case 'wait':
        return;
      case 'stop':
      case 'cont':
        return await this.#execute(operation.kind);
      case 'reset':
        return await this.#reset();
      case 'unplug':
        return await this.#unplug(operation.device);
      case 'plug':
        return await this.#plug(operation.device);
      case 'migrate':
        return await this.#migrate();
    }
  }

  async #reset(): Promise<void> {
    const { timeouts, signal } = this.#stage;
    const done = this.#machine.monitor.nextEvent('RESET', { timeout: timeouts.bareCommand, signal });
    await Promise.all([done, this.#execute('system_reset')]);
  }

  async #unplug(device: number): Promise<void> {
    if (!this.#plugged.delete(device)) return;
    await this.#execute('device_del', { id: idOf(device) });
    const eject = [`outl ${SELECT_BUS} 0`, `outl ${EJECT} ${2 ** (SLOTS[device] ?? 0)}`];
    const { error } = await this.#machine.qtest.batch(eject);
    if (error !== undefined) throw error;
  }

  async #plug(device: number): Promise<void> {
    if (this.#plugged.has(device)) return;
    this.#plugged.add(device);
    const line = `device_add ${placed(this.#stage.devices[device] ?? '', device)}`;
    await this.#execute('human-monitor-command', { 'command-line': line });
  }

  /** The state goes through a file into a new QEMU with the same devices; the old one is ended. */
  async #migrate(): Promise<void> {
    this.#folder ??= await mkdtemp(join(tmpdir(), 'lab-fuzz-'));
    const file = join(this.#folder, 'state');
    await this.#transfer('migrate', `exec:cat > ${file}`);
    await this.counters();
    const old = this.#machine;
    this.#machine = await launchStage(this.#stage, ['-incoming', 'defer']);
    await old.kill();
    await this.#transfer('migrate-incoming', `exec:cat ${file}`);
  }

  async #transfer(command: 'migrate' | 'migrate-incoming', uri: string): Promise<void> {
    const { monitor } = this.#machine;
    const { timeouts, signal } = this.#stage;
    await this.#execute('migrate-set-capabilities', {
      capabilities: [{ capability: 'events', state: true }],
    });
    const ended = monitor.nextEvent(
      ({ event, data }) => event === 'MIGRATION' && /^(completed|failed)$/.test(String(data.status)),
      { timeout: timeouts.qmpCommand, signal },
    );
    await Promise.all([ended, monitor.execute(command, { uri })]);
  }

  /** What QEMU refuses, such as to go on when it goes on already, is of no interest. */
  async #execute(command: string, args: Readonly<Record<string, unknown>> = {}): Promise<void> {
    await this.#machine.monitor.execute(command, args).catch((error: unknown) => {
      if (!(error instanceof LabError) || error.code !== 'monitor/command') throw error;
    });
  }

  /**
   * What the devices say that they did: their properties of type `uint64`, summed up. Devices of other authors may
   * have none.
   */
  async counters(): Promise<Readonly<Record<string, number>>> {
    for (const device of this.#plugged) {
      const path = `/machine/peripheral/${idOf(device)}`;
      const { monitor } = this.#machine;
      const list = await monitor.execute<readonly { name: string; type: string }[]>('qom-list', { path });
      for (const { name, type } of list) {
        if (type !== 'uint64') continue;
        const value = Number(await monitor.execute('qom-get', { path, property: name }));
        this.#counted[name] = (this.#counted[name] ?? 0) + value;
      }
    }
    return this.#counted;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#machine.kill();
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }
}

function launchStage(
  { qemu, devices, timeouts, signal }: Stage,
  more: readonly string[] = [],
): Promise<BareMachine> {
  const bridge = `pci-bridge,id=${BRIDGED},chassis_nr=1,shpc=off,addr=${BRIDGE}`;
  const spec = {
    qemu,
    devices: [bridge, ...devices.map(placed)],
    // a device that writes numbers into the HPET makes it fire without end, which is no fault of the device
    extra: ['-machine', 'hpet=off', '-m', String(RAM / 0x100000n), ...more],
  };
  return launchBare(spec, { timeouts, signal });
}

const BRIDGED = 'bridge';

function placed(device: string, index: number): string {
  return `${device},id=${idOf(index)},bus=${index === 0 ? 'pci.0' : BRIDGED},addr=${SLOTS[index] ?? 0}`;
}

function idOf(index: number): string {
  return `rng${index}`;
}
