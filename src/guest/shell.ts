import type { Readable, Writable } from 'node:stream';
import type { Command } from './command.js';
import type { Ended, Session } from './session.js';
import { Stop } from './stop.js';

export interface ShellOptions {
  /** The user's keys, already in raw mode if it is a terminal; left paused and unread afterwards. */
  readonly stdin: Readable;
  /** Never ended by us. */
  readonly stdout: Writable;
  readonly rows: number;
  readonly cols: number;
  /** Value of TERM in the guest; default `xterm-256color`. */
  readonly term?: string;
  /** Registers a listener for a new size of the terminal and returns the function that removes it. */
  readonly onResize?: (listener: (rows: number, cols: number) => void) => () => void;
  /** Instead of the login shell. */
  readonly command?: Command;
  readonly signal?: AbortSignal | undefined;
}

/** Joins a session that has a terminal to the caller's streams until it ends; nothing bounds its time but its user. */
export async function runShell(session: Session, options: ShellOptions, death: AbortSignal): Promise<Ended> {
  const { stdin, stdout, signal } = options;
  const never = () => {
    throw new Error('a shell has no deadline');
  };
  using stop = new Stop({ what: 'the shell in the guest', onTimeout: never, signal, death });
  const forget = options.onResize?.((rows, cols) => session.resize(rows, cols));
  session.stderr.resume(); // a terminal has no second output
  session.stdout.pipe(stdout, { end: false });
  stdin.pipe(session.stdin);
  try {
    return await stop.race(session.ended);
  } catch (error) {
    session.abandon();
    throw error;
  } finally {
    forget?.();
    stdin.unpipe(session.stdin);
    stdin.pause();
    session.stdout.unpipe(stdout);
  }
}
