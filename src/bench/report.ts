import { z } from 'zod';
import { LabError } from '../errors.js';

/** One value per round, summed up. */
const summary = z.object({
  median: z.number(),
  /** Median of the absolute deviations from the median. */
  mad: z.number(),
  lowerQuartile: z.number(),
  upperQuartile: z.number(),
  min: z.number(),
  max: z.number(),
  rounds: z.array(z.number()).min(1),
});

/** A ratio of medians with its 95 % bootstrap interval. */
const interval = z.object({ value: z.number(), low: z.number(), high: z.number() });

/** Nanoseconds that single requests took: medians over the rounds. Reading the clock, `clock`, is part of each. */
const latency = z.object({
  clock: z.number(),
  min: z.number(),
  p50: z.number(),
  p90: z.number(),
  p99: z.number(),
  p999: z.number(),
  max: z.number(),
});

/** What the guest says that it got against what the device counted. */
const proof = z.object({
  guestBytes: z.number(),
  /** Null where nothing on the host counts. */
  deviceBytes: z.number().nullable(),
  agrees: z.boolean().nullable(),
  text: z.string(),
});

const variantResult = z.object({
  id: z.string(),
  title: z.string(),
  summary: z.string(),
  /** Bytes of a request. */
  size: z.number(),
  bytesPerSecond: summary,
  /** Bytes per second against the yardstick. */
  ratio: interval,
  /** Of the median: a number is four bytes. */
  numbersPerSecond: z.number(),
  /** Share of the time that requests took beyond what is typical for them: what the host did besides, above all. */
  disturbed: z.number(),
  callsPerNumber: z.number(),
  /** Accesses to the device's registers, each of which leaves the guest; null where nothing counts them. */
  accessesPerNumber: z.number().nullable(),
  interruptsPerRequest: z.number().nullable(),
  sleepsPerRequest: z.number(),
  faultsPerRequest: z.number(),
  latency,
  proof,
});

const skippedVariant = z.object({ id: z.string(), title: z.string(), reason: z.string() });

const sizePoint = z.object({ size: z.number(), bytesPerSecond: summary });
const sizeLine = z.object({ id: z.string(), title: z.string(), points: z.array(sizePoint) });

/** Nanoseconds of a request by where they are spent; what cannot be told apart is one part. */
const timePart = z.object({
  kind: z.enum(['call', 'driver', 'wait', 'exit', 'device', 'copy', 'unknown']),
  nanoseconds: z.number(),
});
const timeSplit = z.object({
  id: z.string(),
  title: z.string(),
  size: z.number(),
  nanoseconds: z.number(),
  parts: z.array(timePart),
  remark: z.string().optional(),
});

const qualityTest = z.object({
  id: z.string(),
  title: z.string(),
  source: z.string(),
  statistic: z.number(),
  p: z.number(),
  passed: z.boolean(),
  /** Why this generator is known to fail it. */
  known: z.string().optional(),
});
const quality = z.object({
  id: z.string(),
  bytes: z.number(),
  width: z.number(),
  threshold: z.number(),
  falseAlarm: z.number(),
  tests: z.array(qualityTest),
});

/** Something that has to be reached. */
const bar = z.object({
  id: z.string(),
  title: z.string(),
  wanted: z.number(),
  reached: interval,
  met: z.boolean(),
  /** What keeps it from being more. */
  limit: z.string().optional(),
});

const host = z.object({
  cpu: z.string(),
  cpus: z.number(),
  kernel: z.string(),
  node: z.string(),
  /** Load averages of the last minute, before and after. */
  load: z.tuple([z.number(), z.number()]),
});

const machine = z.object({
  name: z.string(),
  profile: z.string(),
  variant: z.string(),
  accelerator: z.string(),
  made: z.record(z.string(), z.string()),
});

const method = z.object({
  rounds: z.number(),
  /** Of each measurement. */
  seconds: z.number(),
  warmUp: z.number(),
  notes: z.array(z.string()),
});

const report = z.object({
  format: z.literal(1),
  lab: z.string(),
  title: z.string(),
  started: z.string(),
  /** Milliseconds. */
  duration: z.number(),
  machine,
  host,
  method,
  /** Why the numbers should not be trusted too far; empty for a quiet run. */
  noise: z.array(z.string()),
  yardstick: z.string(),
  variants: z.array(variantResult),
  skipped: z.array(skippedVariant),
  sizes: z.array(sizeLine),
  times: z.array(timeSplit),
  /** What each part of `times` means: name, and how it was measured. */
  terms: z.array(z.object({ kind: timePart.shape.kind, name: z.string(), meaning: z.string() })),
  quality: z.array(quality),
  bars: z.array(bar),
});

/** What `lab bench` found: one value, of which table, JSON and page are made. */
export type BenchReport = z.infer<typeof report>;
export type Summary = z.infer<typeof summary>;
export type Interval = z.infer<typeof interval>;
export type Latency = z.infer<typeof latency>;
export type Proof = z.infer<typeof proof>;
export type VariantResult = z.infer<typeof variantResult>;
export type SkippedVariant = z.infer<typeof skippedVariant>;
export type SizeLine = z.infer<typeof sizeLine>;
export type TimeSplit = z.infer<typeof timeSplit>;
export type TimePart = z.infer<typeof timePart>;
export type Term = BenchReport['terms'][number];
export type Quality = z.infer<typeof quality>;
export type Bar = z.infer<typeof bar>;

/** @throws LabError `bench/report` listing what does not fit. */
export function parseBenchReport(text: string): BenchReport {
  const parsed = report.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new LabError({
    code: 'bench/report',
    blame: 'user',
    fact: 'this is not a report of `lab bench`',
    evidence: parsed.error.issues.slice(0, 10).map(({ path, message }) => `${path.join('.')}: ${message}`),
    next: 'make one with `lab bench --json`',
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // reported as not fitting
  }
}

/** Whether guest and device counted the same everywhere, and no generator fails a test that it is not known to fail. */
export function isSound({ variants, quality: found }: BenchReport): boolean {
  const counted = variants.every(({ proof: { agrees } }) => agrees !== false);
  return (
    counted && found.every(({ tests }) => tests.every((test) => test.passed || test.known !== undefined))
  );
}
