import { cpus, loadavg, release } from 'node:os';
import type { BenchReport, VariantResult } from './report.js';
import { median } from './statistics.js';

/** A median deviation beyond this share of the median is called noisy. */
const NOISY_SPREAD = 0.1;
/** Processors that QEMU itself keeps busy: that of the guest, and for a part of the time its main loop. */
const OWN_LOAD = 1.5;

/** The processors of this host, and who else uses them. `before` is the load average before the run. */
export function hostFacts(before: number): BenchReport['host'] {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? 'unknown',
    cpus: all.length,
    kernel: release(),
    node: process.version,
    load: [before, currentLoad()],
  };
}

/** The load average of the last minute. */
export function currentLoad(): number {
  return loadavg()[0] ?? 0;
}

/** What makes the numbers doubtful, as sentences; nothing for a quiet run. Pure. */
export function noiseOf(host: BenchReport['host'], variants: readonly VariantResult[]): string[] {
  const [before, after] = host.load;
  const busy = [
    ...(before >= host.cpus / 2 ? [`the host was busy before the run: load ${before.toFixed(2)}`] : []),
    ...(after >= OWN_LOAD + host.cpus / 4
      ? [
          `the host was busy at the end: load ${after.toFixed(2)}, of which the run itself makes at most ${OWN_LOAD}`,
        ]
      : []),
  ];
  const disturbed = median(variants.map((variant) => variant.disturbed));
  const lost =
    disturbed > NOISY_SPREAD
      ? [`${(100 * disturbed).toFixed(0)} % of the time went elsewhere (median of the variants)`]
      : [];
  const spread = variants.filter(
    ({ bytesPerSecond }) => bytesPerSecond.mad > NOISY_SPREAD * bytesPerSecond.median,
  );
  const [first] = spread;
  if (first === undefined) return [...busy, ...lost];
  const share = (NOISY_SPREAD * 100).toFixed(0);
  const names = spread.map(({ id }) => id).join(', ');
  return [...busy, ...lost, `rounds differ by more than ${share} % (median deviation): ${names}`];
}
