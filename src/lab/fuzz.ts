import type { QemuPrograms } from '../build/qemu.js';
import { type Blame, LabError } from '../errors.js';
import type { DeviceOwner } from '../machine/spec.js';
import type { Timeouts } from '../timeouts.js';
import { loadLab, loadPart } from './registry.js';

/** What a fuzz is asked for. */
export interface FuzzRequest {
  readonly qemu: QemuPrograms;
  /** Who is charged with what is found in the devices. */
  readonly owner: DeviceOwner;
  /** `-device` arguments of one or two devices; none: those that the lab knows to be worth it, in turn. */
  readonly devices: readonly string[];
  /** 32 bits that decide everything. */
  readonly seed: number;
  /** Milliseconds. */
  readonly time: number;
  readonly timeouts: Timeouts;
  readonly signal: AbortSignal;
  /** Told now and then: operations and milliseconds until now. */
  readonly onProgress: (operations: number, time: number) => void;
}

/** What it found. */
export interface Finding {
  /** With this seed it is found at once. */
  readonly seed: number;
  readonly devices: readonly string[];
  readonly fact: string;
  readonly blame: Blame;
  /** What QEMU printed. */
  readonly evidence: readonly string[];
  /** Whether doing the same again had the same end. */
  readonly repeats: boolean;
  /** The fewest operations that lead to it, or, when it does not repeat, the last ones before it. */
  readonly operations: readonly string[];
}

export interface FuzzReport {
  readonly seed: number;
  /** Milliseconds. */
  readonly time: number;
  /** Machines that were started, each with the next seed. */
  readonly sessions: number;
  readonly operations: number;
  /** How many of each kind. */
  readonly kinds: Readonly<Record<string, number>>;
  /** What the devices themselves counted, as far as they do. */
  readonly counters: Readonly<Record<string, number>>;
  /** All that were tried, as for `-device`. */
  readonly devices: readonly string[];
  /** The first one ends it. */
  readonly finding?: Finding;
}

export type Fuzz = (request: FuzzRequest) => Promise<FuzzReport>;

/**
 * How the devices of a lab are fuzzed.
 *
 * @throws LabError `lab/unknown`, `fuzz/none` for a lab without devices of its own.
 */
export async function loadFuzz(name: string): Promise<Fuzz> {
  await loadLab(name);
  const part = (await loadPart(name, 'fuzz')) as { fuzz: Fuzz } | undefined;
  if (part !== undefined) return part.fuzz;
  throw new LabError({
    code: 'fuzz/none',
    blame: 'user',
    fact: `the lab ${name} has no device in QEMU that could be fuzzed`,
    next: 'choose a lab that has one: lab fuzz my-rng',
  });
}
