import type { Check, CheckContext } from '../../../lab/check.js';

/** What the checks of one booted machine are given by the host. */
export interface BootedSetup {
  /** The numbers that the machine's device gives after a seed, as the bare lane saw them. */
  readonly oracle: { numbers(seed: number, count: number): Promise<readonly number[]> };
  /** Accesses to the device so far, counted on the host: a keyed reference device has them. */
  readonly witness?: { counters(): Promise<AccessCounters> };
  /** `modules`: paths of .ko files in the guest, in the order in which they are loaded. */
  readonly driver: 'built-in' | { readonly modules: readonly string[] };
  /** Path of the probe in the guest, under a name that the host chose at random. */
  readonly probe: string;
  /** Whether the submission's kernel tests the device while it boots. */
  readonly bootTest: boolean;
}

export interface AccessCounters {
  /** Reads of RNG. */
  readonly reads: number;
  /** Writes of SEED. */
  readonly seeds: number;
}

/** A line of the marking scheme that the booted lane looks at. */
export type BootedLine = 'device-repeat-seed' | 'driver-repeat-seed' | 'driver-safe-transfer';

export interface BootedCheck extends Check {
  readonly line: BootedLine;
  /** False for a check that supplies evidence only, whatever its outcome. */
  readonly charged: boolean;
}

/** A character device that a driver has registered. */
export interface DriverDevice {
  readonly name: string;
  readonly major: number;
  readonly minor: number;
}

/** What the checks find out on their way; empty before they ran. */
export interface BootedFindings {
  device?: DriverDevice;
  /** Path in the guest of the node that the grader made. */
  node?: string;
  /** The numbers of every seed were the oracle's: later checks may compare with it. */
  faithful: boolean;
  /** Why the driver does not answer any more, while the guest still does. */
  stuck?: string;
  /**
   * The driver touched the user's pointer directly and SMAP ended it. On a machine whose CPU lacks SMAP the checks of
   * `driver-repeat-seed` can still be judged.
   */
  rawPointer?: { readonly fact: string; readonly hint: string; readonly evidence: readonly string[] };
  /** Commands beyond the two that the driver accepts: evidence for the enhancement. */
  readonly extraCommands: string[];
  /** From where on the kernel's trouble is the driver's. */
  since?: { readonly cursor: number; readonly seconds: number };
}

/** @returns findings of a machine that nobody has looked at yet. */
export function newFindings(): BootedFindings {
  return { faithful: false, extraCommands: [] };
}

/** What the body of one check works with. */
export interface Bench {
  readonly setup: BootedSetup;
  readonly findings: BootedFindings;
  readonly context: CheckContext;
}
