/** QMP as we use it: names and shapes follow QEMU's QAPI schema (qapi/*.json), 7.2 to 10.x. */

export interface QemuVersion {
  readonly qemu: { readonly major: number; readonly minor: number; readonly micro: number };
  readonly package: string;
}

export interface Greeting {
  readonly version: QemuVersion;
  readonly capabilities: readonly string[];
}

export interface QmpEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** Host wall clock. */
  readonly timestamp: { readonly seconds: number; readonly microseconds: number };
}

export type RunState =
  | 'debug'
  | 'inmigrate'
  | 'internal-error'
  | 'io-error'
  | 'paused'
  | 'postmigrate'
  | 'prelaunch'
  | 'finish-migrate'
  | 'restore-vm'
  | 'running'
  | 'save-vm'
  | 'shutdown'
  | 'suspended'
  | 'watchdog'
  | 'guest-panicked'
  | 'colo';

export interface StatusInfo {
  readonly running: boolean;
  readonly status: RunState;
}

export interface PciRegionInfo {
  readonly bar: number;
  readonly type: 'io' | 'memory';
  /** −1 while no address is assigned or decoding is off. */
  readonly address: number;
  readonly size: number;
  readonly prefetch?: boolean;
  readonly mem_type_64?: boolean;
}

export interface PciDeviceInfo {
  readonly bus: number;
  readonly slot: number;
  readonly function: number;
  readonly class_info: { readonly class: number; readonly desc?: string };
  readonly id: {
    readonly vendor: number;
    readonly device: number;
    readonly subsystem?: number;
    readonly 'subsystem-vendor'?: number;
  };
  readonly irq?: number;
  readonly irq_pin: number;
  readonly qdev_id: string;
  readonly pci_bridge?: { readonly bus: object; readonly devices?: readonly PciDeviceInfo[] };
  readonly regions: readonly PciRegionInfo[];
}

export interface PciBus {
  readonly bus: number;
  readonly devices: readonly PciDeviceInfo[];
}

export interface CpuInfo {
  readonly 'cpu-index': number;
  readonly 'qom-path': string;
  readonly 'thread-id': number;
  readonly target: string;
}

export interface BlockInfo {
  readonly device: string;
  readonly qdev?: string;
  readonly type: string;
  readonly removable: boolean;
  readonly locked: boolean;
  readonly inserted?: {
    readonly file: string;
    readonly 'node-name'?: string;
    readonly drv: string;
    readonly ro: boolean;
    readonly image: { readonly filename: string; readonly format: string; readonly 'virtual-size': number };
  };
}

/** A key by QEMU's name (`a`, `ret`, `shift`) or by its number, a button, or a movement. */
export type InputEvent =
  | {
      readonly type: 'key';
      readonly data: {
        readonly down: boolean;
        readonly key:
          | { readonly type: 'qcode'; readonly data: string }
          | { readonly type: 'number'; readonly data: number };
      };
    }
  | { readonly type: 'btn'; readonly data: { readonly down: boolean; readonly button: string } }
  | { readonly type: 'rel' | 'abs'; readonly data: { readonly axis: 'x' | 'y'; readonly value: number } };

type None = Readonly<Record<string, never>>;
type Options = Readonly<Record<string, unknown>>;

/** Arguments and result of each command that has a type here; `execute` takes any other command as well. */
export interface Commands {
  readonly 'query-status': { args: None; result: StatusInfo };
  readonly 'query-version': { args: None; result: QemuVersion };
  readonly 'query-pci': { args: None; result: readonly PciBus[] };
  readonly 'query-cpus-fast': { args: None; result: readonly CpuInfo[] };
  readonly 'query-block': { args: None; result: readonly BlockInfo[] };
  readonly 'human-monitor-command': {
    args: { readonly 'command-line': string; readonly 'cpu-index'?: number };
    result: string;
  };
  readonly stop: { args: None; result: None };
  readonly cont: { args: None; result: None };
  readonly quit: { args: None; result: None };
  readonly system_powerdown: { args: None; result: None };
  readonly system_reset: { args: None; result: None };
  readonly device_add: { args: { readonly driver: string; readonly id?: string } & Options; result: None };
  readonly device_del: { args: { readonly id: string }; result: None };
  readonly 'blockdev-add': {
    args: { readonly driver: string; readonly 'node-name': string } & Options;
    result: None;
  };
  readonly 'blockdev-del': { args: { readonly 'node-name': string }; result: None };
  readonly 'input-send-event': {
    args: { readonly device?: string; readonly head?: number; readonly events: readonly InputEvent[] };
    result: None;
  };
  readonly set_link: { args: { readonly name: string; readonly up: boolean }; result: None };
}

export type CommandName = keyof Commands;
