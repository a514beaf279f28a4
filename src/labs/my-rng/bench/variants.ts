import type { BenchVariant } from '../../../bench/bench.js';
import { FURTHER_DEVICES } from '../further/devices.js';
import type { Device } from './counters.js';
import type { Request } from './program.js';

/** A variant of the bench with how it is measured. */
export interface RngVariant extends BenchVariant {
  /** Which device gives the numbers; undefined: none of ours. */
  readonly device?: (device: Device) => boolean;
  /** The module that drives it; `my_rng_pci` stays in otherwise. */
  readonly module?: 'my_rng' | 'my_rng_fixed';
  /** Read through /dev/hwrng: the kernel's name of the source. */
  readonly source?: (index: number) => string;
  readonly mode: Request['mode'];
  readonly path?: Request['path'];
  /** Bytes of a request. */
  readonly size: number;
  /** Sizes that are measured besides. */
  readonly sizes: readonly number[];
  /** The device makes more numbers than are read: for the kernel's own use, or in advance. */
  readonly ahead?: boolean;
}

const KIB = 1024;
export const BULK = 64 * KIB;

/** Each four times the one before: 4 B to 1 MiB. */
const SIZES = Array.from({ length: 10 }, (_, i) => 4 ** (i + 1));
/** /dev/hwrng is slow: a megabyte of it takes seconds. */
const SMALL_SIZES = SIZES.filter((size) => size <= 64 * KIB);

const basic = ({ extended }: Device) => !extended;
const libc = ({ extended, message, algorithm }: Device) => extended && message && algorithm === 'libc';

/** Generators of the machine's devices besides that of the C library, which the other variants have. */
const ALGORITHMS = [...new Set(FURTHER_DEVICES.map((device) => device.algorithm))].filter(
  (name) => name !== 'libc',
);

/** The yardstick. */
export const BASIC = 'basic';

/** Everything that is compared, in the order of the report. */
export const variants: readonly RngVariant[] = [
  {
    id: BASIC,
    title: 'basic driver, ioctl',
    summary: 'my_rng.ko: an ioctl for 32 bits is one access',
    device: basic,
    module: 'my_rng',
    ...ioctl('ioctl32'),
  },
  {
    id: 'fixed',
    title: 'fixed address, ioctl',
    summary: 'my_rng_fixed.ko: the same, the address is a constant',
    device: basic,
    module: 'my_rng_fixed',
    ...ioctl('ioctl32'),
  },
  {
    id: 'probe',
    title: 'PCI probe, ioctl',
    summary: 'my_rng_pci.ko on the basic device: an ioctl for 32 bits',
    device: basic,
    ...ioctl('ioctl32'),
  },
  {
    id: 'wide',
    title: 'ioctl of 64 bits',
    summary: 'two numbers by one access to the 64-bit register',
    device: libc,
    ...ioctl('ioctl64'),
  },
  {
    id: 'read32',
    title: 'read(), 32-bit register',
    summary: 'many accesses for one system call',
    device: libc,
    ...reading('32', 4 * KIB, SIZES),
  },
  {
    id: 'read64',
    title: 'read(), 64-bit register',
    summary: 'half as many accesses',
    device: libc,
    ...reading('64', 4 * KIB, SIZES),
  },
  {
    id: 'bulk-msi',
    title: 'bulk by DMA, MSI',
    summary: 'the device writes to memory and interrupts by a message',
    device: libc,
    ...reading('bulk', BULK, SIZES),
  },
  {
    id: 'bulk-intx',
    title: 'bulk by DMA, INTx',
    summary: 'the same with the interrupt line',
    device: ({ extended, message, algorithm }) => extended && !message && algorithm === 'libc',
    ...reading('bulk', BULK, SIZES),
  },
  {
    id: 'hwrng',
    title: 'my_rng as hwrng',
    summary: "my_rng through the kernel's /dev/hwrng",
    device: libc,
    source: (index) => `my_rng.${index}`,
    ahead: true,
    ...hwrng(),
  },
  {
    id: 'virtio-rng',
    title: 'virtio-rng as hwrng',
    summary: "virtio-rng through the kernel's /dev/hwrng",
    source: () => 'virtio_rng.0',
    ...hwrng(),
  },
  ...ALGORITHMS.map(
    (name): RngVariant => ({
      id: name,
      title: `bulk, ${name}`,
      summary: `another generator in the device: ${name}`,
      device: ({ extended, message, algorithm }) => extended && message && algorithm === name,
      ...reading('bulk', BULK, []),
    }),
  ),
];

function ioctl(mode: 'ioctl32' | 'ioctl64'): Pick<RngVariant, 'mode' | 'size' | 'sizes'> {
  return { mode, size: mode === 'ioctl32' ? 4 : 8, sizes: [] };
}

function reading(
  path: '32' | '64' | 'bulk',
  size: number,
  sizes: readonly number[],
): Pick<RngVariant, 'mode' | 'path' | 'size' | 'sizes'> {
  return { mode: 'read', path, size, sizes };
}

function hwrng(): Pick<RngVariant, 'mode' | 'size' | 'sizes'> {
  return { mode: 'read', size: 4 * KIB, sizes: SMALL_SIZES };
}
