import type { JailLimits } from './limits.js';

/** A host path and where it is seen inside; the same place when `at` is absent. */
export interface Bind {
  readonly from: string;
  readonly at?: string;
}

/** Changes that we, not the code inside, make to the overlaid tree before that code starts. */
export interface TreeEdits {
  /** Host files, each with the path in the tree that it takes. */
  readonly put: readonly { readonly from: string; readonly to: string }[];
  /** Paths in the tree that are removed first. */
  readonly remove: readonly string[];
}

/** What code that nobody trusts can see and use. Everything else of the host does not exist for it. */
export interface Jail {
  /** The folder `lower` seen at `at`: whatever is written there is kept in memory and vanishes with the jail. */
  readonly overlay?: { readonly lower: string; readonly at: string; readonly edits?: TreeEdits };
  readonly readOnly?: readonly Bind[];
  /** Host files, not folders, that may be written. */
  readonly writable?: readonly Bind[];
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Descriptors from 3 on that the command inherits; all others are closed. */
  readonly descriptors?: readonly number[];
  readonly limits: JailLimits;
}

/** Copies regular files and folders out of the overlay when the command has ended. */
export interface Extraction {
  /** Relative to the overlaid tree. */
  readonly paths: readonly string[];
  /** Existing host file that receives them as a tar archive. */
  readonly archive: string;
}
