import type { Measurement, VisitOptions } from '../../../bench/bench.js';
import type { Proof } from '../../../bench/report.js';
import type { CheckTarget } from '../../../lab/check.js';
import { type Counters, difference, readCounters } from './counters.js';
import type { Place } from './place.js';
import { type ProgramResult, type Request, runProgram } from './program.js';

const NUMBER = 4;

/** Requests of a measurement that are timed one by one. */
const SAMPLES = 500;

/** What the device may have made beyond what was read, where it works ahead: the kernel asks for some by itself. */
const AHEAD_BYTES = 64 * 1024;

/** Runs rng-bench once and reads the device's counters before and after. */
export async function measure(
  { guest, machine }: CheckTarget,
  { device, variant }: Place,
  request: Request,
  { signal, seconds, warmUp }: VisitOptions,
  samples = SAMPLES,
): Promise<Measurement> {
  const run = () => runProgram(guest, request, { seconds, warmUp, samples, signal });
  if (device === undefined) return measurementOf(await run(), undefined, variant.ahead);
  const before = await readCounters(machine, device);
  const result = await run();
  return measurementOf(result, difference(before, await readCounters(machine, device)), variant.ahead);
}

/** What the program found, and what the device counted meanwhile. Pure. */
export function measurementOf(
  result: ProgramResult,
  counted: Counters | undefined,
  ahead = false,
): Measurement {
  const { percentiles, clock, size, requests, bytes, nanoseconds, typical } = result;
  const { calls, faults, sleeps } = result;
  const measurement = {
    ...{ size, requests, bytes, nanoseconds, typical, calls, faults, sleeps },
    latency: { clock, ...percentiles },
    proof: compare(result.total_bytes, counted, ahead),
  };
  if (counted === undefined) return measurement;
  return {
    ...measurement,
    accessesPerNumber: (counted.accesses * NUMBER) / result.total_bytes,
    interruptsPerRequest: counted.interrupts / result.total_requests,
  };
}

/** No byte may reach the program that did not leave the device, and none may leave it that nobody asked for. */
function compare(guestBytes: number, counted: Counters | undefined, ahead: boolean): Proof {
  if (counted === undefined) {
    return { guestBytes, deviceBytes: null, agrees: null, text: 'nothing on the host counts these' };
  }
  const deviceBytes = counted.bytes;
  const more = deviceBytes - guestBytes;
  const agrees = more >= 0 && more <= (ahead ? AHEAD_BYTES : 0);
  const text = agrees
    ? ahead
      ? 'the device made what the program got, and no more than the kernel asks for by itself'
      : 'the device made exactly what the program got'
    : `the program got ${guestBytes} bytes, and the device made ${deviceBytes}`;
  return { guestBytes, deviceBytes, agrees, text };
}
