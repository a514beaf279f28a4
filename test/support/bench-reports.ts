import type { BenchReport, TimeSplit, VariantResult } from '../../src/bench/report.js';
import { summarize } from '../../src/bench/statistics.js';

const SIZES = [4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576];

/** Five rounds around a speed. */
function rounds(speed: number, spread = 0.03) {
  return summarize([-1, 0.4, 0, -0.5, 0.8].map((step) => speed * (1 + spread * step)));
}

const BASIC = 3.33e6;

function variant(id: string, title: string, size: number, speed: number, spread?: number): VariantResult {
  const value = speed / BASIC;
  const bytes = Math.round(speed);
  return {
    id,
    title,
    summary: `how ${id} gets its numbers`,
    size,
    bytesPerSecond: rounds(speed, spread),
    ratio: { value, low: value * 0.97, high: value * 1.03 },
    numbersPerSecond: speed / 4,
    disturbed: 0.02,
    callsPerNumber: 4 / size,
    accessesPerNumber: id === 'virtio-rng' ? null : size > 4096 ? 12 / size : 1,
    interruptsPerRequest: size > 4096 ? 1 : 0,
    sleepsPerRequest: size > 4096 ? 1 : 0,
    faultsPerRequest: 0,
    latency: { clock: 60, min: 900, p50: 1072, p90: 1702, p99: 2194, p999: 48_850, max: 488_507 },
    proof: {
      guestBytes: bytes,
      deviceBytes: id === 'virtio-rng' ? null : bytes,
      agrees: id === 'virtio-rng' ? null : true,
      text: 'every byte of the guest was counted by the device',
    },
  };
}

function split(id: string, title: string, size: number, parts: TimeSplit['parts']): TimeSplit {
  const nanoseconds = parts.reduce((sum, part) => sum + part.nanoseconds, 0);
  return { id, title, size, nanoseconds, parts };
}

/** A report as `lab bench my-rng` makes it, with plausible numbers. */
export function benchReport(): BenchReport {
  const variants = [
    variant('basic', 'basic driver, ioctl', 4, BASIC),
    variant('fixed', 'fixed address, ioctl', 4, 3.36e6),
    variant('probe', 'PCI probe, ioctl', 4, 3.21e6, 0.08),
    variant('wide', '64-bit ioctl', 8, 6.61e6),
    variant('read32', 'read(), 32-bit register', 4096, 9.4e6),
    variant('read64', 'read(), 64-bit register', 4096, 17.9e6),
    variant('bulk-msi', 'bulk, MSI', 65536, 361e6, 0.12),
    variant('bulk-intx', 'bulk, INTx', 65536, 342e6),
    variant('hwrng', 'hwrng of my_rng', 4096, 7.1e6),
    variant('virtio-rng', 'virtio-rng', 4096, 2.4e6, 0.3),
    variant('mt19937', 'bulk, MT19937', 65536, 512e6),
  ];
  const line = (id: string, title: string, each: number, byte: number) => ({
    id,
    title,
    points: SIZES.map((size) => ({ size, bytesPerSecond: rounds((size * 1e9) / (each + byte * size)) })),
  });
  return {
    format: 1,
    lab: 'my-rng',
    title: 'what each way of getting numbers gains',
    started: '2026-01-02T03:04:05.000Z',
    duration: 154_000,
    machine: {
      name: 'my-rng',
      profile: 'course',
      variant: 'further',
      accelerator: 'tcg',
      made: { qemu: '10.0.13, debian', linux: '6.12.117-lab, debian', guest: 'debian 12.15' },
    },
    host: {
      cpu: 'A processor of some name at 2.10 GHz',
      cpus: 2,
      kernel: '6.1.0',
      node: 'v20.19.0',
      load: [0.1, 1.2],
    },
    method: { rounds: 5, seconds: 0.5, warmUp: 0.1, notes: ['one vCPU'] },
    noise: ['rounds differ by more than 10 % (median deviation): virtio-rng'],
    yardstick: 'basic',
    variants,
    skipped: [{ id: 'pcg32', title: 'bulk, PCG32', reason: 'the machine has no such device' }],
    sizes: [
      line('read32', 'read(), 32-bit', 900, 105),
      line('read64', 'read(), 64-bit', 900, 56),
      line('bulk-msi', 'bulk, MSI', 31_000, 2.4),
      line('bulk-intx', 'bulk, INTx', 34_000, 2.45),
      line('hwrng', 'hwrng of my_rng', 1400, 140),
      line('virtio-rng', 'virtio-rng', 26_000, 410),
    ],
    times: [
      split('basic', 'basic driver, ioctl', 4, [
        { kind: 'call', nanoseconds: 640 },
        { kind: 'driver', nanoseconds: 120 },
        { kind: 'exit', nanoseconds: 270 },
        { kind: 'device', nanoseconds: 40 },
      ]),
      split('read32', 'read(), 32-bit register', 4096, [
        { kind: 'call', nanoseconds: 640 },
        { kind: 'driver', nanoseconds: 24_000 },
        { kind: 'exit', nanoseconds: 320_000 },
        { kind: 'device', nanoseconds: 42_000 },
      ]),
      split('bulk-msi', 'bulk, MSI', 65536, [
        { kind: 'call', nanoseconds: 640 },
        { kind: 'exit', nanoseconds: 1900 },
        { kind: 'wait', nanoseconds: 21_000 },
        { kind: 'device', nanoseconds: 119_000 },
        { kind: 'copy', nanoseconds: 40_000 },
      ]),
      split('virtio-rng', 'virtio-rng', 4096, [
        { kind: 'call', nanoseconds: 640 },
        { kind: 'unknown', nanoseconds: 1_700_000 },
      ]),
    ],
    terms: [
      { kind: 'call', name: 'system call', meaning: 'an ioctl that the driver does not know' },
      { kind: 'driver', name: 'driver', meaning: 'what remains of the guest' },
      { kind: 'wait', name: 'transfer and waking up', meaning: 'interrupt, waking up' },
      { kind: 'copy', name: 'copying', meaning: 'what remains of a transfer' },
      { kind: 'exit', name: 'exit', meaning: "an access's way out of the guest and back" },
      { kind: 'device', name: 'device', meaning: 'making and delivering numbers' },
      { kind: 'unknown', name: 'not told apart', meaning: 'nothing on the host counts it' },
    ],
    quality: [
      {
        id: 'libc',
        bytes: 1 << 20,
        width: 31,
        threshold: 8.3e-8,
        falseAlarm: 1e-6,
        tests: [
          {
            id: 'monobit',
            title: 'as many ones as zeros',
            source: 'NIST SP 800-22, 2.1',
            statistic: 0.1,
            p: 0.92,
            passed: true,
          },
          {
            id: 'birthday-spacings',
            title: 'equal distances',
            source: 'Marsaglia',
            statistic: 900,
            p: 1e-190,
            passed: false,
            known: 'each number is the sum of two earlier ones',
          },
        ],
      },
    ],
    bars: [
      {
        id: 'wide',
        title: '64-bit path against the basic ioctl',
        wanted: 1.9,
        reached: { value: 1.985, low: 1.96, high: 2.02 },
        met: true,
      },
      {
        id: 'bulk',
        title: 'bulk, 64 KiB, against the basic ioctl',
        wanted: 100,
        reached: { value: 108.4, low: 101, high: 113 },
        met: true,
        limit: 'making the numbers takes 66 % of the time',
      },
      {
        id: 'virtio',
        title: 'bulk, 64 KiB, against virtio-rng',
        wanted: 1,
        reached: { value: 0.4, low: 0.3, high: 0.5 },
        met: false,
        limit: 'something',
      },
    ],
  };
}
