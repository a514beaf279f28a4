import type { ModuleIntakeRules } from '../intake/module-rules.js';
import type { Lab } from '../lab/lab.js';
import type { LineCheck, ModuleSetup } from '../lab/module-checks.js';
import type { LineSpec } from './grading.js';

/** A line of the marking scheme of a lab of loadable modules. */
export interface ModuleLine extends LineSpec {
  /** Modules without which it is lost. */
  readonly modules: readonly string[];
  /** It is the line that a module loses which follows pointers of user space without the functions for that. */
  readonly pointers?: true;
}

/** All that grading a lab of loadable modules needs to know: data and the lab's own checks. */
export interface ModuleLab {
  readonly lab: Lab;
  /** Those without checks are kept when their modules build. */
  readonly lines: readonly ModuleLine[];
  readonly rules: ModuleIntakeRules;
  /** Checks of lines that are not in `lines` are not for grading. */
  readonly checks: (setup: ModuleSetup) => readonly LineCheck[];
  /** Name of the good fixture that is graded as the canary. */
  readonly golden: string;
}
