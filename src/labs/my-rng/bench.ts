import type { Conclusion, LabBench, Measurement, OpenBench, Visit, VisitOptions } from '../../bench/bench.js';
import type { TimeSplit, VariantResult } from '../../bench/report.js';
import type { CheckTarget } from '../../lab/check.js';
import { barsOf } from './bench/bars.js';
import { measure } from './bench/measure.js';
import { findPlaces, inPlace, type Place } from './bench/place.js';
import { lookAtNumbers } from './bench/quality.js';
import { costsOf, exitCost, splitOf, terms } from './bench/times.js';
import { BASIC, type RngVariant, variants } from './bench/variants.js';
import { lab } from './lab.js';

/** What each way of getting numbers out of the device gains. */
export const bench: LabBench = {
  lab,
  title: 'what each way of getting numbers gains',
  machine: 'further',
  yardstick: BASIC,
  variants,
  terms,
  open: async (target, chosen, signal) => {
    const wanted = variants.filter(({ id }) => chosen.some((one) => one.id === id));
    const { places, missing } = await findPlaces(target, wanted, signal);
    return openBench(target, places, missing);
  },
};

function openBench(
  target: CheckTarget,
  places: readonly Place[],
  missing: ReadonlyMap<RngVariant, string>,
): OpenBench {
  return {
    variants: places.map(({ variant }) => variant),
    skipped: [...missing].map(([{ id, title }, reason]) => ({ id, title, reason })),
    visit: async ({ id }, options) => {
      const place = places.find(({ variant }) => variant.id === id);
      if (place === undefined) throw new TypeError(`the variant ${id} was not opened`);
      return await inPlace(target.guest, place, options.signal, () => visit(target, place, options));
    },
    conclude: (results, options, progress) => conclude(target, places, { results, options, progress }),
    [Symbol.asyncDispose]: async () => {}, // each visit leaves the guest as it was
  };
}

/** Measurements at other sizes than the variant's own are half as long. */
async function visit(target: CheckTarget, place: Place, options: VisitOptions): Promise<Visit> {
  const main = await measure(target, place, place.request, options);
  const shorter = { ...options, seconds: options.seconds / 2, warmUp: options.warmUp / 2 };
  const sizes: Measurement[] = [];
  for (const size of place.variant.sizes) {
    sizes.push(await measure(target, place, { ...place.request, size }, shorter, 0));
  }
  return { main, sizes };
}

interface Ending {
  readonly results: readonly VariantResult[];
  readonly options: VisitOptions;
  readonly progress: (done: number, total: number) => void;
}

async function conclude(
  target: CheckTarget,
  places: readonly Place[],
  { results, options, progress }: Ending,
): Promise<Conclusion> {
  const calibration = places.find(({ variant, device }) => device?.extended && variant.source === undefined);
  const exit = calibration === undefined ? undefined : await exitCost(target, calibration, options);
  const times: TimeSplit[] = [];
  for (const [done, place] of places.entries()) {
    progress(done, places.length);
    const result = results.find(({ id }) => id === place.variant.id);
    if (result === undefined) continue;
    times.push(splitOf(result, await costsOf(target, place, result, exit, options)));
  }
  const quality = await lookAtNumbers(target, places, options.signal);
  return { times, quality, bars: barsOf(results, times), notes: notesOf(exit) };
}

function notesOf(exit: number | undefined): string[] {
  return [
    'the guest has one processor; the device works in the main loop of QEMU, on another processor of the host',
    ...(exit === undefined
      ? [
          'the price of an access could not be found: no device with a read() by its 32-bit register was chosen',
        ]
      : [`the way of one access to the device and back takes ${exit.toFixed(0)} ns`]),
  ];
}
