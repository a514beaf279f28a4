/** Bytes of one access. */
export type Size = 1 | 2 | 4 | 8;

/** One thing that is done to the machine. Each stands for itself: any of them may be left out. */
export type Operation =
  | { readonly kind: 'read'; readonly size: Size; readonly address: bigint }
  | { readonly kind: 'write'; readonly size: Size; readonly address: bigint; readonly value: bigint }
  | ({ readonly kind: 'config-read' } & ConfigPlace)
  | ({ readonly kind: 'config-write'; readonly value: number } & ConfigPlace)
  /** Bytes put into memory. */
  | { readonly kind: 'fill'; readonly address: bigint; readonly data: Buffer }
  /** Nanoseconds by which the machine's clock is put forward. */
  | { readonly kind: 'clock'; readonly ns: number }
  /** What was sent until here is waited for, and so the device's work in the background gets a chance to run. */
  | { readonly kind: 'wait' }
  | { readonly kind: 'reset' | 'stop' | 'cont' | 'migrate' }
  | { readonly kind: 'unplug' | 'plug'; readonly device: number };

/** Bytes of the configuration space of a function: `slot` of PCI bus `bus`. */
export interface ConfigPlace {
  readonly bus: number;
  readonly slot: number;
  readonly offset: number;
  readonly size: 1 | 2 | 4;
}

/** The operations that qtest carries out; the others take QMP. */
export type QTestOperation = Extract<
  Operation,
  { kind: 'read' | 'write' | 'config-read' | 'config-write' | 'fill' | 'clock' }
>;

const CONFIG_ADDRESS = 0xcf8;
const CONFIG_DATA = 0xcfc;
const LETTER = { 1: 'b', 2: 'w', 4: 'l', 8: 'q' } as const;

/** An operation as commands of the qtest protocol. */
export function qtestCommands(operation: QTestOperation): string[] {
  switch (operation.kind) {
    case 'read':
      return [`read${LETTER[operation.size]} ${hex(operation.address)}`];
    case 'write':
      return [`write${LETTER[operation.size]} ${hex(operation.address)} ${hex(operation.value)}`];
    case 'config-read':
      return [select(operation), `in${LETTER[operation.size]} ${hex(port(operation))}`];
    case 'config-write':
      return [
        select(operation),
        `out${LETTER[operation.size]} ${hex(port(operation))} ${hex(operation.value)}`,
      ];
    case 'fill':
      return [
        `write ${hex(operation.address)} ${hex(operation.data.length)} 0x${operation.data.toString('hex')}`,
      ];
    case 'clock':
      return [`clock_step ${operation.ns}`];
  }
}

/** Whether qtest carries the operation out. */
export function isQTest(operation: Operation): operation is QTestOperation {
  return ['read', 'write', 'config-read', 'config-write', 'fill', 'clock'].includes(operation.kind);
}

/** An operation in words, e.g. `write 4 bytes to 0xe000002c: 0x101`. */
export function describe(operation: Operation): string {
  switch (operation.kind) {
    case 'read':
      return `read ${operation.size} bytes at ${hex(operation.address)}`;
    case 'write':
      return `write ${operation.size} bytes to ${hex(operation.address)}: ${hex(operation.value)}`;
    case 'config-read':
      return `read ${operation.size} bytes of configuration space at ${configPlace(operation)}`;
    case 'config-write':
      return `write ${operation.size} bytes of configuration space to ${configPlace(operation)}: ${hex(operation.value)}`;
    case 'fill':
      return `put into memory at ${hex(operation.address)}: ${abbreviated(operation.data)}`;
    case 'clock':
      return `put the clock forward by ${operation.ns} ns`;
    case 'unplug':
    case 'plug':
      return `${operation.kind} device ${operation.device}`;
    default:
      return WORDS[operation.kind];
  }
}

const WORDS = {
  wait: 'wait for the answers',
  reset: 'reset the machine',
  stop: 'stop the machine',
  cont: 'let the machine go on',
  migrate: 'save the machine, and load it into a new QEMU',
} as const;

/** Mechanism 1 (PCI Local Bus 3.0, 3.2.2.3.2), as the `pc` machine has it. */
function select({ bus, slot, offset }: ConfigPlace): string {
  const address = (0x80000000 | (bus << 16) | (slot << 11) | (offset & 0xfc)) >>> 0;
  return `outl ${hex(CONFIG_ADDRESS)} ${hex(address)}`;
}

function port({ offset }: ConfigPlace): number {
  return CONFIG_DATA + (offset & 3);
}

function configPlace({ bus, slot, offset }: ConfigPlace): string {
  return `${hex(offset)} of device ${bus}:${slot}`;
}

function abbreviated(data: Buffer): string {
  const text = data.toString('hex');
  return text.length <= 64 ? text : `${text.slice(0, 64)}… (${data.length} bytes)`;
}

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
