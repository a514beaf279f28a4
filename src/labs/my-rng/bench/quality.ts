import type { Quality } from '../../../bench/report.js';
import type { CheckTarget } from '../../../lab/check.js';
import { runBattery } from '../battery/battery.js';
import { inPlace, type Place } from './place.js';
import { readBytes } from './program.js';

/** Bytes of each generator that are looked at. */
const BYTES = 1024 * 1024;

/** Bits of a number that the generator makes; 32 where it is not named. */
const WIDTHS: Readonly<Record<string, number>> = { libc: 31 };

/** Tests that a generator is known to fail, and why. */
const KNOWN: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  libc: {
    'birthday-spacings':
      'each number is the sum of the third and the thirty-first before it, and this test was made to see that (Knuth 2, 3.3.2 J): these numbers are good enough for an exercise, and not for simulations.',
  },
};

/** Runs the battery over the bytes of each generator that the machine has, as a program in the guest gets them. */
export async function lookAtNumbers(
  target: CheckTarget,
  places: readonly Place[],
  signal: AbortSignal,
): Promise<Quality[]> {
  const found: Quality[] = [];
  for (const place of onePerGenerator(places)) {
    const algorithm = place.device?.algorithm ?? '';
    const bytes = await inPlace(target.guest, place, signal, () =>
      readBytes(target.guest, place.request, BYTES, signal),
    );
    found.push(qualityOf(algorithm, bytes));
  }
  return found;
}

/** The quickest way to each generator: the largest requests. */
function onePerGenerator(places: readonly Place[]): Place[] {
  const quickest = new Map<string, Place>();
  const sorted = places.toSorted((a, b) => b.variant.size - a.variant.size);
  for (const place of sorted) {
    if (place.device === undefined || place.variant.source !== undefined) continue;
    if (!quickest.has(place.device.algorithm)) quickest.set(place.device.algorithm, place);
  }
  return [...quickest.values()];
}

/** What the battery says of a generator's bytes. Pure. */
export function qualityOf(algorithm: string, bytes: Uint8Array): Quality {
  const known = KNOWN[algorithm] ?? {};
  const { width, threshold, falseAlarm, tests, ...rest } = runBattery(bytes, WIDTHS[algorithm] ?? 32);
  return {
    id: algorithm,
    bytes: rest.bytes,
    width,
    threshold,
    falseAlarm,
    tests: tests.map((test) => {
      const reason = known[test.id];
      return reason === undefined ? test : { ...test, known: reason };
    }),
  };
}
