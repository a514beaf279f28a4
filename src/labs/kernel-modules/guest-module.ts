import { basename } from 'node:path';
import { LabError } from '../../errors.js';
import { quoteForShell } from '../../guest/command.js';
import { type CheckContext, CheckFailure } from '../../lab/check.js';
import type { ModuleSetup } from '../../lab/module-checks.js';
import { type Logged, runLogged } from '../../lab/run-logged.js';

/** A `.ko` file that lies in the guest, loaded or not. */
export class GuestModule {
  /** As the kernel knows it. */
  readonly name: string;
  readonly path: string;
  readonly #context: CheckContext;

  constructor(context: CheckContext, path: string) {
    this.#context = context;
    this.path = path;
    this.name = basename(path, '.ko').replaceAll('-', '_');
  }

  /** Shell words that load or unload it, for scripts. */
  get insmod(): string {
    return `insmod ${quoteForShell(this.path)}`;
  }
  get rmmod(): string {
    return `rmmod ${quoteForShell(this.name)}`;
  }

  /** @throws CheckFailure with what insmod and the kernel said, or LabError `guest/timeout`. */
  async insert(): Promise<Logged> {
    return await this.#must(this.insmod, `insmod of ${this.name}`);
  }

  /** @throws CheckFailure with what rmmod and the kernel said, or LabError `guest/timeout`. */
  async remove(): Promise<Logged> {
    return await this.#must(this.rmmod, `rmmod of ${this.name}`);
  }

  async loaded(): Promise<boolean> {
    const { guest, signal } = this.#context;
    return (await guest.exec(['test', '-d', `/sys/module/${this.name}`], { signal })).exitCode === 0;
  }

  async #must(script: string, what: string): Promise<Logged> {
    const result = await runLogged(this.#context, script).catch((error: unknown) => {
      if (!isLate(error)) throw error;
      const { code, blame, evidence, next } = error;
      throw new LabError({ code, blame, evidence, next, fact: `${what} does not end`, cause: error });
    });
    if (result.exitCode === 0) return result;
    const said = result.stderr.trimEnd().split('\n');
    throw new CheckFailure(`${what} failed`, [...said, ...result.log.slice(-20)]);
  }
}

/**
 * Gives `use` a module that is not loaded, and leaves it afterwards as it was before: loaded or not.
 *
 * @param name the exercise's name of the module
 * @throws CheckFailure when it was not handed in, or cannot be unloaded to begin with.
 */
export async function withModule(
  context: CheckContext,
  setup: ModuleSetup,
  name: string,
  use: (module: GuestModule) => Promise<void>,
): Promise<void> {
  const path = setup.modules[name];
  if (path === undefined) throw new CheckFailure(`no module ${name} was handed in`);
  const module = new GuestModule(context, path);
  const before = await module.loaded();
  if (before) await module.remove();
  const failure = await use(module).then(
    () => undefined,
    (error: unknown) => error,
  );
  const restored = context.signal.aborted || (await restore(context, module, before));
  if (failure !== undefined) throw failure;
  if (!restored) throw new CheckFailure(`${before ? 'insmod' : 'rmmod'} of ${name} does not end`);
}

/** Milliseconds for one insmod or rmmod. */
const LOADS = 4000;

/** False when the guest hangs in it, as after an oops that has left something in use. */
async function restore(context: CheckContext, module: GuestModule, loaded: boolean): Promise<boolean> {
  const { guest, signal, timeouts } = context;
  const there = `[ -d /sys/module/${quoteForShell(module.name)} ]`;
  const script = loaded ? `${there} || ${module.insmod}` : `! ${there} || ${module.rmmod}`;
  try {
    await guest.exec(script, { signal, timeout: LOADS * timeouts.scale });
    return true;
  } catch (error) {
    if (isLate(error)) return false;
    throw error;
  }
}

function isLate(error: unknown): error is LabError {
  return error instanceof LabError && error.code === 'guest/timeout';
}
