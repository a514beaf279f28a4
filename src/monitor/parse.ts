import type { PciBus, PciDeviceInfo, PciRegionInfo } from './types.js';

/** A host port that QEMU's user network forwards to the guest. */
export interface ForwardedPort {
  readonly protocol: 'tcp' | 'udp';
  /** `*` when it listens on every address. */
  readonly hostAddress: string;
  readonly hostPort: number;
  readonly guestAddress: string;
  readonly guestPort: number;
}

/**
 * The forwarded ports in the text of HMP `info usernet`. Connections in progress and forwarded unix sockets are
 * left out; text of another shape gives an empty list.
 */
export function parseUsernet(text: string): ForwardedPort[] {
  return text.split(/\r?\n/).flatMap((line) => {
    const match = FORWARD.exec(line);
    if (match === null) return [];
    const [, protocol = '', hostAddress = '', hostPort, guestAddress = '', guestPort] = match;
    return [
      {
        protocol: protocol === 'UDP' ? ('udp' as const) : ('tcp' as const),
        hostAddress,
        hostPort: Number(hostPort),
        guestAddress,
        guestPort: Number(guestPort),
      },
    ];
  });
}

/** Protocol[State], descriptor, source address and port, destination address and port; libslirp's `slirp_connection_info`. */
const FORWARD = /^\s*(TCP|UDP)\[HOST_FORWARD\]\s+-?\d+\s+(\S+)\s+(\d{1,5})\s+(\S+)\s+(\d{1,5})(?:\s|$)/;

export interface PciRegion {
  readonly bar: number;
  readonly type: 'io' | 'memory';
  /** Bytes on the bus; `undefined` while no address is assigned or decoding is off. */
  readonly address: number | undefined;
  /** Bytes. */
  readonly size: number;
  readonly prefetch: boolean;
  /** A memory BAR of 64 bits. */
  readonly wide: boolean;
}

export interface PciDevice {
  readonly bus: number;
  readonly slot: number;
  readonly function: number;
  readonly vendor: number;
  readonly device: number;
  /** Base class and subclass, e.g. 0x0200. */
  readonly classCode: number;
  /** The id given with `-device`; empty when none was. */
  readonly id: string;
  readonly regions: readonly PciRegion[];
}

/** All PCI functions of a `query-pci` reply, those behind bridges after their bridge. */
export function flattenPci(buses: readonly PciBus[]): PciDevice[] {
  return buses.flatMap(({ devices }) => devices.flatMap(withChildren));
}

function withChildren(info: PciDeviceInfo): PciDevice[] {
  return [toDevice(info), ...(info.pci_bridge?.devices ?? []).flatMap(withChildren)];
}

function toDevice(info: PciDeviceInfo): PciDevice {
  return {
    bus: info.bus,
    slot: info.slot,
    function: info.function,
    vendor: info.id.vendor,
    device: info.id.device,
    classCode: info.class_info.class,
    id: info.qdev_id,
    regions: info.regions.map(toRegion),
  };
}

function toRegion(info: PciRegionInfo): PciRegion {
  return {
    bar: info.bar,
    type: info.type,
    address: info.address < 0 ? undefined : info.address,
    size: info.size,
    prefetch: info.prefetch ?? false,
    wide: info.mem_type_64 ?? false,
  };
}

/** The first device of that identity in the answer to `query-pci`. */
export function findPciDevice(
  buses: readonly PciBus[],
  vendor: number,
  device: number,
): PciDevice | undefined {
  return flattenPci(buses).find((found) => found.vendor === vendor && found.device === device);
}
