import type { VisitOptions } from '../../../bench/bench.js';
import type { Term, TimePart, TimeSplit, VariantResult } from '../../../bench/report.js';
import { median } from '../../../bench/statistics.js';
import type { CheckTarget } from '../../../lab/check.js';
import { difference, readCounters, setTiming } from './counters.js';
import { inPlace, type Place } from './place.js';
import { type ProgramResult, type Request, runProgram } from './program.js';

/** What the parts of a request's time mean. */
export const terms: readonly Term[] = [
  {
    kind: 'call',
    name: 'system call',
    meaning: 'An ioctl that the driver does not know (ENOTTY): into the kernel, to the driver, and back.',
  },
  {
    kind: 'driver',
    name: 'driver',
    meaning: 'What remains: the driver itself, its locks, and copying to the program.',
  },
  {
    kind: 'wait',
    name: 'transfer and waking up',
    meaning:
      'What a transfer of 4 bytes takes besides its system call and accesses: handing it to the device, sleeping, the interrupt, and waking up.',
  },
  {
    kind: 'exit',
    name: 'exit',
    meaning:
      "The accesses' way out of the guest to the device and back: the price of an access, found from how read() by the 32-bit register takes longer for more bytes, without the device's own time, times the number of accesses that the device counted.",
  },
  {
    kind: 'device',
    name: 'device',
    meaning:
      "The device's own clock on the host (property timing): making numbers, and writing them to memory. It is a share of the time while that clock is on; reading it, some 30 ns each time, is part of it.",
  },
  {
    kind: 'copy',
    name: 'copying',
    meaning: 'What remains of a transfer: above all, copying what it brought to the program.',
  },
  {
    kind: 'unknown',
    name: 'driver, exits and device',
    meaning: 'Not measurable: no counter of the host covers this device.',
  },
];

/** Nanoseconds of a request, but for the whole. */
export interface Costs {
  /** Of a system call that does nothing. */
  readonly call: number;
  /** Of the device, on the host. */
  readonly device?: number;
  readonly accesses?: number;
  /** Of the way to the device and back, one access. */
  readonly exit?: number;
  /** Of a transfer of a single number, in all. */
  readonly transfer?: number;
}

/** Divides the time of a request; what is left over is the guest's. Pure. */
export function splitOf(
  { id, title, size, bytesPerSecond }: Pick<VariantResult, 'id' | 'title' | 'size' | 'bytesPerSecond'>,
  { call, device, accesses, exit, transfer }: Costs,
): TimeSplit {
  const nanoseconds = (size * 1e9) / bytesPerSecond.median;
  const whole = { id, title, size, nanoseconds };
  const called: TimePart = { kind: 'call', nanoseconds: Math.min(call, nanoseconds) };
  if (device === undefined || accesses === undefined || exit === undefined) {
    const rest: TimePart = { kind: 'unknown', nanoseconds: nanoseconds - called.nanoseconds };
    return { ...whole, parts: [called, rest] };
  }
  const before: TimePart[] = [called, { kind: 'exit', nanoseconds: accesses * exit }];
  const wait = transfer === undefined ? 0 : Math.max(0, transfer - sum(before));
  const known = [
    ...before,
    { kind: 'wait' as const, nanoseconds: wait },
    { kind: 'device' as const, nanoseconds: device },
  ];
  const over = sum(known) - nanoseconds;
  const kind = transfer === undefined ? 'driver' : 'copy';
  const parts = [...known, { kind, nanoseconds: Math.max(0, -over) } as const].filter(
    (part) => part.kind !== 'wait' || transfer !== undefined,
  );
  if (over < nanoseconds / 100) return { ...whole, parts };
  const remark = `the parts were measured at another time than the whole, and are ${((100 * over) / nanoseconds).toFixed(0)} % more`;
  return { ...whole, parts, remark };
}

function sum(parts: readonly TimePart[]): number {
  return parts.reduce((total, { nanoseconds }) => total + nanoseconds, 0);
}

/** A number has four bytes. */
const NUMBER = 4;

/** Each cost is the median of so many measurements. */
const REPEATS = 3;
/** Two sizes whose difference is accesses alone: the driver asks for 1 KiB at a time. */
const FEW = 1024;
const MANY = 16 * 1024;

/**
 * The price of an access' way to the device and back, without the device's own time.
 *
 * @returns nanoseconds.
 */
export async function exitCost(target: CheckTarget, place: Place, options: VisitOptions): Promise<number> {
  const reading = (size: number): Request => ({ mode: 'read', node: place.request.node, size, path: '32' });
  const few: number[] = [];
  const many: number[] = [];
  const shares: number[] = [];
  for (let i = 0; i < REPEATS; i += 1) {
    few.push((await briefly(target, reading(FEW), options)).typical);
    many.push((await briefly(target, reading(MANY), options)).typical);
    shares.push(await deviceShare(target, place, reading(MANY), options));
  }
  const access = (median(many) - median(few)) / ((MANY - FEW) / NUMBER);
  const device = (median(shares) * median(many)) / (MANY / NUMBER);
  return Math.max(0, access - device);
}

/** The costs of a variant's request besides the whole; `exit` as `exitCost` found it. */
export async function costsOf(
  target: CheckTarget,
  place: Place,
  result: VariantResult,
  exit: number | undefined,
  options: VisitOptions,
): Promise<Costs> {
  const { request } = place;
  const calls: number[] = [];
  const shares: number[] = [];
  const transfers: number[] = [];
  await inPlace(target.guest, place, options.signal, async () => {
    for (let i = 0; i < REPEATS; i += 1) {
      calls.push((await briefly(target, { mode: 'null', node: request.node }, options)).typical);
      if (request.path === 'bulk')
        transfers.push((await briefly(target, { ...request, size: NUMBER }, options)).typical);
      if (place.device !== undefined) shares.push(await deviceShare(target, place, request, options));
    }
  });
  const call = median(calls);
  if (shares.length === 0 || result.accessesPerNumber === null || exit === undefined) return { call };
  const accesses = (result.accessesPerNumber * result.size) / NUMBER;
  const whole = (result.size * 1e9) / result.bytesPerSecond.median;
  const costs = { call, device: median(shares) * whole, accesses, exit };
  return transfers.length === 0 ? costs : { ...costs, transfer: median(transfers) };
}

function briefly({ guest }: CheckTarget, request: Request, options: VisitOptions): Promise<ProgramResult> {
  return runProgram(guest, request, { ...options, samples: 0 });
}

/**
 * The device's share of all the time, by its own clock, which is on for just this. A share, because what else the host
 * does makes both longer.
 */
async function deviceShare(
  target: CheckTarget,
  { device }: Place,
  request: Request,
  options: VisitOptions,
): Promise<number> {
  if (device === undefined) return 0;
  const { machine } = target;
  await setTiming(machine, device, true);
  try {
    const before = await readCounters(machine, device);
    const { nanoseconds } = await briefly(target, request, { ...options, warmUp: 0 });
    return difference(before, await readCounters(machine, device)).nanoseconds / nanoseconds;
  } finally {
    await setTiming(machine, device, false);
  }
}
