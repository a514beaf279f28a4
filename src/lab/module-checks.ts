import type { Check } from './check.js';

/** Where the things that checks of loadable modules work with lie in the guest: absolute paths, by name. */
export interface ModuleSetup {
  /** `.ko` files by the name that the exercise gives them: `virtblkiosim`. Missing: it was not handed in. */
  readonly modules: Readonly<Record<string, string>>;
  /** Our own programs: what they say about the module under test can be relied on as far as the kernel can. */
  readonly programs: Readonly<Record<string, string>>;
}

/** A check that belongs to a line of the lab's marking scheme. */
export interface LineCheck extends Check {
  /** Id of the line. */
  readonly line: string;
  /**
   * For grading: checks of the same name run on one machine, those of another on a machine of their own, so that what
   * one module breaks is not charged to another. `lab test` runs all of them, in order, on its machine.
   */
  readonly machine: string;
}
