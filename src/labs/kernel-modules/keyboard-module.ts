import { quoteForShell } from '../../guest/command.js';
import { type CheckContext, CheckFailure } from '../../lab/check.js';
import type { ModuleSetup } from '../../lab/module-checks.js';
import { type GuestModule, withModule } from './guest-module.js';

/** The keyboard module, loaded, and how its scan codes are read. */
export interface LoadedKeyboard {
  readonly context: CheckContext;
  readonly setup: ModuleSetup;
  readonly module: GuestModule;
  /** Argument of keyboard-probe for a reader that waits. */
  readonly place: string;
  /** The file that is read, unless only the user program knows how. */
  readonly node?: string;
}

/** Loads the module, finds out how it is read, and leaves it afterwards as it was. */
export async function withKeyboard(
  context: CheckContext,
  setup: ModuleSetup,
  use: (keyboard: LoadedKeyboard) => Promise<void>,
): Promise<void> {
  await withModule(context, setup, 'keyboard', async (module) => {
    const node = await insertAndFind(context, module);
    const program = setup.programs['keyboard-reader'];
    const place = node === undefined ? `run:${program}` : `block:${node}`;
    if (node === undefined && program === undefined) {
      const hint = 'a character device, a file in /proc, or a program that was handed in is looked for';
      throw new CheckFailure('nothing that could be read has appeared with the module', [], hint);
    }
    await use({ context, setup, module, place, ...(node === undefined ? {} : { node }) });
  });
}

/** Lists files and character devices, loads the module, and lists again. */
async function insertAndFind(context: CheckContext, module: GuestModule): Promise<string | undefined> {
  const list = async () => {
    const { stdout } = await context.guest.exec(LIST, { signal: context.signal, check: true });
    return new Set(stdout.split('\n').filter((line) => line !== ''));
  };
  const before = await list();
  await module.insert();
  const fresh = [...(await list())].filter((line) => !before.has(line));
  const files = fresh.filter((line) => line.startsWith('/'));
  const file = files.find((path) => path.startsWith('/dev/')) ?? files[0];
  if (file !== undefined) return file;
  const major = /^\d+/.exec(fresh[0] ?? '')?.[0];
  if (major === undefined) return undefined;
  const node = '/dev/lab-keyboard-under-test';
  const make = `rm -f ${node}; mknod ${quoteForShell(node)} c ${major} 0`;
  await context.guest.exec(make, { signal: context.signal, check: true });
  return node;
}

/** Files of /dev and /proc that are no processes, and the majors of character devices with their names. */
const LIST = `for f in /dev/* /proc/[!0-9]*; do [ -d "$f" ] || echo "$f"; done
while read -r major name; do case $major in Block) break ;; [0-9]*) echo "$major $name" ;; esac; done </proc/devices`;
