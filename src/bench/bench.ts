import type { CheckTarget } from '../lab/check.js';
import type { Lab } from '../lab/lab.js';
import type {
  Bar,
  Latency,
  Proof,
  Quality,
  SkippedVariant,
  Term,
  TimeSplit,
  VariantResult,
} from './report.js';

/** A way of doing the lab's work that is compared with others. */
export interface BenchVariant {
  /** As it is named on the command line. */
  readonly id: string;
  readonly title: string;
  /** How the work is done, in a sentence. */
  readonly summary: string;
}

/** What one run of the measuring program in the guest found. */
export interface Measurement {
  /** Bytes of a request. */
  readonly size: number;
  readonly requests: number;
  readonly bytes: number;
  readonly nanoseconds: number;
  /** Nanoseconds of a request: the median of batches of about a millisecond. */
  readonly typical: number;
  readonly calls: number;
  readonly faults: number;
  readonly sleeps: number;
  readonly latency: Latency;
  /** Register accesses of the device per number; absent where nothing counts them. */
  readonly accessesPerNumber?: number;
  readonly interruptsPerRequest?: number;
  readonly proof: Proof;
}

/** One round of one variant. */
export interface Visit {
  /** At the variant's own size of a request. */
  readonly main: Measurement;
  /** At other sizes, for variants that have them. */
  readonly sizes: readonly Measurement[];
}

/** How long each measurement of a visit lasts. */
export interface VisitOptions {
  readonly seconds: number;
  readonly warmUp: number;
  readonly signal: AbortSignal;
}

/** What a lab finds out beyond speed, when all rounds are over. */
export interface Conclusion {
  readonly times: readonly TimeSplit[];
  readonly quality: readonly Quality[];
  readonly bars: readonly Bar[];
  readonly notes: readonly string[];
}

/** A machine that is ready for being measured. Whoever opened it closes it, which leaves the guest as it was. */
export interface OpenBench extends AsyncDisposable {
  readonly variants: readonly BenchVariant[];
  /** Variants that this machine cannot show. */
  readonly skipped: readonly SkippedVariant[];
  visit(variant: BenchVariant, options: VisitOptions): Promise<Visit>;
  /** @param progress how many of how many parts of it are done */
  conclude(
    results: readonly VariantResult[],
    options: VisitOptions,
    progress: (done: number, total: number) => void,
  ): Promise<Conclusion>;
}

/** What of a lab is measured, and how: `src/labs/<lab>/bench.ts` exports one as `bench`. */
export interface LabBench {
  readonly lab: Lab;
  readonly title: string;
  /** Which variant of the lab's machine has all that is compared. */
  readonly machine: string;
  /** The variant that all others are compared with; it is measured always. */
  readonly yardstick: string;
  readonly variants: readonly BenchVariant[];
  /** The parts of a request's time. */
  readonly terms: readonly Term[];
  readonly open: (
    target: CheckTarget,
    variants: readonly BenchVariant[],
    signal: AbortSignal,
  ) => Promise<OpenBench>;
}
