import type { EditPlace } from '../build/contribution.js';
import type { Project } from './submission.js';

/** What a lab expects in a hand-in, and what it lets one touch. */
export interface IntakeRules {
  readonly projects: Readonly<Record<Project, ProjectRules>>;
  /** The student's own program: C with a `main`, that mentions one of these. */
  readonly application: { readonly marks: readonly RegExp[]; readonly name: string };
  /** Object that an out-of-tree module's makefile builds when none was handed in: `my_rng.o`, from `sources`. */
  readonly module: { readonly object: string; readonly source: string };
}

export interface ProjectRules {
  /** For messages: `QEMU`. */
  readonly title: string;
  /** Paths that may be touched: `*` stands for anything within one folder, `**` for anything. */
  readonly allowed: readonly string[];
  /** Folders of the tree that the names of a patch may be relative to, likeliest first. */
  readonly homes: readonly string[];
  /** The contributed C source: where a loose one goes, and text that tells it (any one of them). */
  readonly source: { readonly path: string; readonly marks: readonly RegExp[] };
  /** Build files that a loose source needs. */
  readonly buildFiles: readonly BuildFileRule[];
  /** Other files of the tree that a student changes and may hand in whole. */
  readonly wholeFiles: readonly WholeFileRule[];
}

export interface BuildFileRule {
  readonly path: string;
  /** How its text is cut into pieces that are taken over: `config` stanzas, or statements. */
  readonly syntax: 'kconfig' | 'statements';
  /** What belongs to the exercise. */
  readonly concerns: RegExp;
  readonly where: EditPlace;
  /** Supplied when the hand-in has none. */
  readonly usual: string;
}

export interface WholeFileRule {
  readonly path: string;
  /** Text that tells that a file of this name is the one meant. */
  readonly marks: readonly RegExp[];
  /** Number of changed lines beyond which the file must come from another version. */
  readonly most: number;
  /** Added lines that are taken over from a file of another version. */
  readonly concerns: RegExp;
  /** In whose body every added line is taken over: `kernel_init`. */
  readonly inside: string;
}

/** Whether a path of the tree may be touched. */
export function isAllowed(rules: ProjectRules, path: string): boolean {
  return rules.allowed.some((pattern) => matches(pattern, path));
}

function matches(pattern: string, path: string): boolean {
  const source = pattern
    .split(/(\*\*|\*)/)
    .map((part) =>
      part === '**' ? '.*' : part === '*' ? '[^/]*' : part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'),
    )
    .join('');
  return new RegExp(`^${source}$`).test(path);
}
