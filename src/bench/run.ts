import type { StepContext } from '../events.js';
import { runStep } from '../events.js';
import type { LiveTarget } from '../lab/target.js';
import type { BenchVariant, LabBench, Measurement, OpenBench, Visit, VisitOptions } from './bench.js';
import { currentLoad, hostFacts, noiseOf } from './host.js';
import type { BenchReport, Latency, Proof, SizeLine, VariantResult } from './report.js';
import { median, ratio, summarize } from './statistics.js';

export interface BenchOptions {
  readonly variants: readonly BenchVariant[];
  readonly rounds: number;
  /** Of each measurement. */
  readonly seconds: number;
}

/** The steps of `runBench`, for a display that lists them before they start. */
export const benchSteps = {
  rounds: 'Measure',
  conclude: 'See where the time goes, and look at the numbers',
} as const;

/** A measurement's warm-up as a share of its length. */
const WARM_UP = 0.2;

/**
 * Measures the variants on a machine that runs, in rounds: each round visits all of them, in another order, so that
 * whatever else the host does meets all of them.
 *
 * @throws LabError, or CheckFailure when something in the guest cannot be measured.
 */
export async function runBench(
  bench: LabBench,
  live: LiveTarget,
  options: BenchOptions,
  context: StepContext,
): Promise<BenchReport> {
  const started = new Date();
  const load = currentLoad();
  await using open = await bench.open(live.target, options.variants, context.signal);
  const { seconds } = options;
  const visit: VisitOptions = { seconds, warmUp: seconds * WARM_UP, signal: context.signal };
  const visits = await allRounds(open, options, visit, context);
  const { variants, sizes } = resultsOf(bench, open.variants, visits);
  const conclusion = await runStep(context, 'conclude', benchSteps.conclude, async (step) => ({
    value: await open.conclude(variants, visit, (done, total) => step.progress(done, total, 'steps')),
  }));
  const host = hostFacts(load);
  const { times, quality, bars, notes } = conclusion;
  return {
    format: 1,
    lab: bench.lab.name,
    title: bench.title,
    started: started.toISOString(),
    duration: Date.now() - started.getTime(),
    machine: machineOf(live),
    host,
    method: { rounds: options.rounds, seconds, warmUp: visit.warmUp, notes: [...notes] },
    noise: noiseOf(host, variants),
    yardstick: bench.yardstick,
    variants,
    skipped: [...open.skipped],
    sizes,
    times: [...times],
    terms: [...bench.terms],
    quality: [...quality],
    bars: [...bars],
  };
}

type Visits = ReadonlyMap<string, readonly Visit[]>;

async function allRounds(
  open: OpenBench,
  { rounds }: BenchOptions,
  options: VisitOptions,
  context: StepContext,
): Promise<Visits> {
  const order = roundOrder(open.variants, rounds);
  const visits = new Map<string, Visit[]>();
  await runStep(context, 'rounds', benchSteps.rounds, async (step) => {
    for (const [done, variant] of order.entries()) {
      context.signal.throwIfAborted();
      step.progress(done, order.length, 'steps');
      step.output(`${variant.id}: ${variant.title}`);
      const visit = await open.visit(variant, options);
      visits.set(variant.id, [...(visits.get(variant.id) ?? []), visit]);
    }
    return { value: undefined, detail: `${rounds} rounds of ${open.variants.length} variants` };
  });
  return visits;
}

/** Who is visited when: each round begins with another one, and every second round goes backwards. */
export function roundOrder<T>(variants: readonly T[], rounds: number): T[] {
  return Array.from({ length: rounds }, (_, round) => {
    const turned = [
      ...variants.slice(round % variants.length),
      ...variants.slice(0, round % variants.length),
    ];
    return round % 2 === 0 ? turned : turned.reverse();
  }).flat();
}

/** What all rounds together say of each variant. */
export function resultsOf(
  bench: Pick<LabBench, 'yardstick'>,
  variants: readonly BenchVariant[],
  visits: Visits,
): { variants: VariantResult[]; sizes: SizeLine[] } {
  const speeds = (id: string) => (visits.get(id) ?? []).map(({ main }) => speedOf(main));
  const yardstick = speeds(bench.yardstick);
  const results = variants.map((variant) => {
    const mains = (visits.get(variant.id) ?? []).map(({ main }) => main);
    return variantResult(variant, mains, ratio(speeds(variant.id), yardstick));
  });
  const sizes = variants.map((variant) => sizeLine(variant, visits.get(variant.id) ?? []));
  return { variants: results, sizes: sizes.filter(({ points }) => points.length > 0) };
}

function speedOf({ size, typical }: Measurement): number {
  return (size * 1e9) / typical;
}

/** A number has four bytes. */
const NUMBER = 4;

function variantResult(
  { id, title, summary }: BenchVariant,
  mains: readonly Measurement[],
  against: VariantResult['ratio'],
): VariantResult {
  const bytesPerSecond = summarize(mains.map(speedOf));
  const middle = (value: (main: Measurement) => number) => median(mains.map(value));
  const counted = (value: (main: Measurement) => number | undefined) => {
    const values = mains.map(value).filter((one) => one !== undefined);
    return values.length === 0 ? null : median(values);
  };
  return {
    id,
    title,
    summary,
    size: mains[0]?.size ?? 0,
    bytesPerSecond,
    ratio: against,
    numbersPerSecond: bytesPerSecond.median / NUMBER,
    disturbed: middle(({ typical, requests, nanoseconds }) =>
      Math.max(0, 1 - (typical * requests) / nanoseconds),
    ),
    callsPerNumber: middle(({ calls, bytes }) => (calls * NUMBER) / bytes),
    accessesPerNumber: counted(({ accessesPerNumber }) => accessesPerNumber),
    interruptsPerRequest: counted(({ interruptsPerRequest }) => interruptsPerRequest),
    sleepsPerRequest: middle(({ sleeps, requests }) => sleeps / requests),
    faultsPerRequest: middle(({ faults, requests }) => faults / requests),
    latency: latencyOf(mains),
    proof: proofOf(mains.map(({ proof }) => proof)),
  };
}

function latencyOf(mains: readonly Measurement[]): Latency {
  const of = (key: keyof Latency) => median(mains.map(({ latency }) => latency[key]));
  return {
    clock: of('clock'),
    min: of('min'),
    p50: of('p50'),
    p90: of('p90'),
    p99: of('p99'),
    p999: of('p999'),
    max: of('max'),
  };
}

/** The first round that does not agree speaks for all; otherwise the sum of all rounds. */
function proofOf(proofs: readonly Proof[]): Proof {
  const wrong = proofs.find(({ agrees }) => agrees === false);
  const [first] = proofs;
  if (wrong !== undefined || first === undefined) {
    return wrong ?? { guestBytes: 0, deviceBytes: null, agrees: null, text: 'nothing was measured' };
  }
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const counted = proofs.map(({ deviceBytes }) => deviceBytes).filter((bytes) => bytes !== null);
  return {
    guestBytes: sum(proofs.map(({ guestBytes }) => guestBytes)),
    deviceBytes: counted.length === proofs.length ? sum(counted) : null,
    agrees: first.agrees,
    text: first.text,
  };
}

function sizeLine({ id, title }: BenchVariant, visits: readonly Visit[]): SizeLine {
  const sizes = [...new Set(visits.flatMap((visit) => visit.sizes.map(({ size }) => size)))];
  const points = sizes
    .sort((a, b) => a - b)
    .map((size) => {
      const found = visits.flatMap((visit) => visit.sizes.filter((one) => one.size === size));
      return { size, bytesPerSecond: summarize(found.map(speedOf)) };
    });
  return { id, title, points };
}

function machineOf({ target, record }: LiveTarget): BenchReport['machine'] {
  const { name, profile, variant, accelerator, made } = record;
  return { name: target.machine.name ?? name, profile, variant, accelerator, made: { ...made } };
}
