/** What a lab of loadable modules expects in a hand-in. */
export interface ModuleIntakeRules {
  readonly modules: readonly ModuleRule[];
  /** The student's own program: C with a `main`; one that mentions any of these is taken before others. */
  readonly program: { readonly marks: readonly RegExp[] };
}

/** A loadable module that an exercise asks for. */
export interface ModuleRule {
  /** Without ending, as `lsmod` shows it: `ioctl_test`. */
  readonly name: string;
  /** Text of its C sources, comments aside, that tells it from other modules. */
  readonly marks: readonly RegExp[];
}

/** A module's name as the kernel sees it. */
export function moduleName(stem: string): string {
  return stem.replaceAll('-', '_');
}
