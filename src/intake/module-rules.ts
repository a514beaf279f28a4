/** What a lab of loadable modules expects in a hand-in. */
export interface ModuleIntakeRules {
  readonly modules: readonly ModuleRule[];
  /** The student's own program: C with a `main` that mentions any of these; `name` is what the lab's checks call it. */
  readonly program: { readonly name: string; readonly marks: readonly RegExp[] };
}

/** A loadable module that an exercise asks for. */
export interface ModuleRule {
  /** The exercise's name of it: `ioctl_test`. */
  readonly name: string;
  /** Name of the built module, as `lsmod` shows it; default `name`. */
  readonly builtAs?: string;
  /** Text of its C sources, comments aside, that tells it from other modules. */
  readonly marks: readonly RegExp[];
}

/** The name under which a module of the exercise is built, whatever its author called it. */
export function builtName({ name, builtAs }: ModuleRule): string {
  return builtAs ?? name;
}

/** A module's name as the kernel sees it. */
export function moduleName(stem: string): string {
  return stem.replaceAll('-', '_');
}
