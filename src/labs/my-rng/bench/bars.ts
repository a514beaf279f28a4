import type { Bar, TimeSplit, VariantResult } from '../../../bench/report.js';
import { ratio } from '../../../bench/statistics.js';
import { terms } from './times.js';
import { BASIC } from './variants.js';

const WANTED = [
  { id: 'wide', of: 'wide', against: BASIC, wanted: 1.9, title: '64-bit ioctl against the basic ioctl' },
  {
    id: 'bulk',
    of: 'bulk-msi',
    against: BASIC,
    wanted: 100,
    title: 'bulk of 64 KiB against the basic ioctl',
  },
  {
    id: 'virtio',
    of: 'bulk-msi',
    against: 'virtio-rng',
    wanted: 1,
    title: 'bulk of 64 KiB against virtio-rng',
  },
] as const;

/** What has to be reached, as far as both sides of the comparison were measured. Pure. */
export function barsOf(results: readonly VariantResult[], times: readonly TimeSplit[]): Bar[] {
  const find = (id: string) => results.find((result) => result.id === id);
  return WANTED.flatMap(({ id, of, against, wanted, title }): Bar[] => {
    const [one, other] = [find(of), find(against)];
    if (one === undefined || other === undefined) return [];
    const reached = ratio(one.bytesPerSecond.rounds, other.bytesPerSecond.rounds);
    const limit = limitOf(times.find((split) => split.id === of));
    const bar = { id, title, wanted, reached, met: reached.value >= wanted };
    return [limit === undefined ? bar : { ...bar, limit }];
  });
}

/** The largest part of a request's time, in words. */
function limitOf(split: TimeSplit | undefined): string | undefined {
  const total = split?.parts.reduce((sum, { nanoseconds }) => sum + nanoseconds, 0) ?? 0;
  const sorted = split?.parts.toSorted((a, b) => b.nanoseconds - a.nanoseconds) ?? [];
  const [first, second] = sorted.map(({ kind, nanoseconds }) => {
    const name = terms.find((term) => term.kind === kind)?.name ?? kind;
    return `${name} ${((100 * nanoseconds) / total).toFixed(0)} %`;
  });
  if (first === undefined) return undefined;
  return `limited by: ${first}${second === undefined ? '' : `, then ${second}`} of the time`;
}
