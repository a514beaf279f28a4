import { once } from 'node:events';
import type { Command } from '@commander-js/extra-typings';

/** Ctrl-] as in telnet: unused by shells and editors. */
const ESCAPE = 0x1d;

/** `lab console`: the serial console of the machine, both ways. */
export function addConsole(program: Command, signal: AbortSignal): void {
  program
    .command('console')
    .summary('attach to the serial console')
    .description('Attaches to the serial console of the machine. Ctrl-] leaves it; the machine goes on.')
    .argument('[machine]', 'name of the machine (default: the only one that runs)')
    .addHelpText('after', '\nExamples:\n  lab console\n  lab console my-rng')
    .action((name) => attach(name, signal));
}

async function attach(name: string | undefined, signal: AbortSignal): Promise<void> {
  const { connect } = await import('node:net');
  const { join } = await import('node:path');
  const { fileNames } = await import('../../src/machine/arguments.js');
  const { runningMachine } = await import('../target.js');
  const { withRawTerminal } = await import('../ui/raw-terminal.js');
  const record = runningMachine(name);
  const socket = connect(join(record.sockets, fileNames.consoleSocket));
  await once(socket, 'connect', { signal });
  process.stderr.write(`console of ${record.name}; Ctrl-] leaves it\n`);
  await withRawTerminal(async ({ stdin, stdout }) => {
    socket.pipe(stdout, { end: false });
    stdin.on('data', (chunk: Buffer) => {
      const at = chunk.indexOf(ESCAPE);
      socket.write(at === -1 ? chunk : chunk.subarray(0, at));
      if (at !== -1) socket.end();
    });
    stdin.on('end', () => socket.end());
    const leave = () => socket.destroy();
    signal.addEventListener('abort', leave, { once: true });
    await once(socket, 'close');
  });
  process.stderr.write('\n');
}
