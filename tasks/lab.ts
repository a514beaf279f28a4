import { CommanderError } from '@commander-js/extra-typings';
import { isAbort, LabError } from '../src/errors.js';
import { exitCodeOf, exitCodes } from './exit-codes.js';
import { makeProgram } from './program.js';

const interrupt = new AbortController();

/** Ctrl-C, `kill` and a lost terminal end the work in order; the second one ends us at once. */
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (interrupt.signal.aborted) process.exit(exitCodes.interrupted);
    interrupt.abort();
  });
}

/** A reader that goes away (`lab logs | head`) is no error. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(exitCodes.ok);
  throw error;
});

/** What nobody waited for ends us like any other error; what we have started goes with us. */
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error: unknown) => process.exit(tell(error)));
}

async function main(argv: readonly string[]): Promise<number> {
  const program = makeProgram(interrupt.signal);
  try {
    await program.parseAsync([...argv]);
    return typeof process.exitCode === 'number' ? process.exitCode : exitCodes.ok;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    return tell(error);
  }
}

/** @returns the exit code for it. */
function tell(error: unknown): number {
  process.stderr.write(`${explain(error)}\n`);
  return exitCodeOf(error);
}

function explain(error: unknown): string {
  if (interrupt.signal.aborted && isAbort(error))
    return '\nInterrupted. Run the same command again to continue.';
  if (error instanceof LabError) return `\n${error.format()}`;
  if (isNoSpace(error)) {
    return '\nthe disk is full\n\nNext: free some space (`lab cache prune` removes what is least used), then run the command again';
  }
  const stack = error instanceof Error ? error.stack : String(error);
  return `\nlab met an error that it does not know:\n${stack}\n\nNext: run the command again; report this if it stays`;
}

function isNoSpace(error: unknown): boolean {
  return (error as NodeJS.ErrnoException | undefined)?.code === 'ENOSPC';
}

const code = await main(process.argv);
// a pipe takes what was written to it only as its reader reads
await Promise.all(
  [process.stdout, process.stderr].map((stream) => new Promise((done) => stream.write('', done))),
);
// What is still open now (a listener, an unused socket) must not keep the command from ending.
process.exit(code);
