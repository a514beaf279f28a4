import { quoteForShell } from '../../guest/command.js';
import { type CheckContext, CheckFailure } from '../../lab/check.js';
import type { ModuleSetup } from '../../lab/module-checks.js';
import { type GuestModule, withModule } from './guest-module.js';
import { eventsOf } from './keyboard-events.js';
import { Readers } from './readers.js';

/** The keyboard module, loaded, and how its scan codes are read. */
export interface LoadedKeyboard {
  readonly context: CheckContext;
  readonly setup: ModuleSetup;
  readonly module: GuestModule;
  /** Argument of keyboard-probe for a reader that waits. */
  readonly place: string;
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
    if (node !== undefined && (program === undefined || (await canBeRead(context, setup, node)))) {
      return await use({ context, setup, module, place: `block:${node}` });
    }
    if (program !== undefined) return await use({ context, setup, module, place: `run:${program}` });
    const hint = 'a character device, a file in /proc, or a program that was handed in is looked for';
    throw new CheckFailure('nothing that could be read has appeared with the module', [], hint);
  });
}

/** Some modules hand their codes out by ioctl, or to their own program only: then read() fails. Asked once. */
async function canBeRead(context: CheckContext, setup: ModuleSetup, node: string): Promise<boolean> {
  const known = readable.get(setup) ?? (await tryToRead(context, setup, node));
  readable.set(setup, known);
  return known;
}

async function tryToRead(context: CheckContext, setup: ModuleSetup, node: string): Promise<boolean> {
  try {
    await using readers = await Readers.start(context, setup, [`block:${node}`]);
    await readers.window(0, SETTLES);
    return eventsOf(readers.events, 'error', 0).length === 0;
  } catch (error) {
    if (error instanceof CheckFailure) return false;
    throw error;
  }
}

const readable = new WeakMap<ModuleSetup, boolean>();
/** Milliseconds in which a read() that fails has failed. */
const SETTLES = 150;

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
