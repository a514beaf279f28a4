import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findTrouble } from '../console/kernel-log.js';
import { LabError } from '../errors.js';
import { fileNames } from '../machine/arguments.js';
import { ConsoleLog } from '../machine/console-log.js';
import { machineFolder } from '../machine/record.js';

/** The line that the guest prints at each start when sshd accepts connections; see vm/guest. */
export const LISTENING = 'lab: sshd is listening';

const PANIC = /Kernel panic - not syncing/;

/**
 * The error that says that the guest's kernel has panicked since it last came up, with what it printed; undefined
 * when it has not. QEMU and its forwarded port live on after a panic, so only the console tells.
 */
export async function deadGuest(name: string): Promise<LabError | undefined> {
  const log = join(machineFolder(name), fileNames.console);
  const lines = (await readFile(log, 'utf8')).split(/\r?\n/);
  const up = lines.findLastIndex((line) => line.includes(LISTENING));
  const since = lines.slice(up + 1);
  if (!since.some((line) => PANIC.test(line))) return undefined;
  const [report] = findTrouble(since);
  return panicked(name, log, report?.lines ?? since.slice(-20));
}

/** Rejects when the guest's kernel panics from now on; ends with `signal`. */
export async function guestDeath(name: string, signal: AbortSignal): Promise<never> {
  const log = join(machineFolder(name), fileNames.console);
  await using follower = new ConsoleLog(log, 'end');
  const stopped = new Promise<void>((resolve) =>
    signal.addEventListener('abort', () => resolve(), { once: true }),
  );
  const panic = follower.console
    .waitFor(PANIC, { name: 'a panic', timeout: NEVER, signal, fatal: [] })
    .then(() => panicked(name, log, follower.console.lines().slice(-20)));
  const error = await Promise.race([panic, stopped]);
  if (error !== undefined) throw error;
  return await new Promise<never>(() => {}); // whoever asked has what they wanted
}

/** The longest delay that a timer of Node.js can hold, in milliseconds: three weeks. */
const NEVER = 2 ** 31 - 1;

function panicked(name: string, log: string, lines: readonly string[]): LabError {
  return new LabError({
    code: 'guest/panicked',
    blame: 'user',
    fact: `the kernel of the guest ${name} has panicked`,
    evidence: lines.slice(0, 30),
    log,
    next: '`lab up` starts the machine anew',
  });
}
