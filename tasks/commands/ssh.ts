import type { Command } from '@commander-js/extra-typings';

/** `lab ssh`: a login shell in the guest. */
export function addSsh(program: Command, signal: AbortSignal): void {
  program
    .command('ssh')
    .summary('log in to the guest')
    .description('Opens a shell in the guest as root. For OpenSSH itself, `lab status` prints the command.')
    .argument('[machine]', 'name of the machine (default: the only one that runs)')
    .addHelpText('after', '\nExamples:\n  lab ssh\n  lab ssh my-rng')
    .action((name) => ssh(name, signal));
}

async function ssh(name: string | undefined, signal: AbortSignal): Promise<void> {
  const { runningMachine } = await import('../target.js');
  const { withGuest } = await import('../../src/lab/connect.js');
  const { hostTimeouts } = await import('../host.js');
  const { withRawTerminal } = await import('../ui/raw-terminal.js');
  const term = process.env.TERM ?? 'vt100';
  process.exitCode = await withGuest(runningMachine(name), hostTimeouts(), signal, (guest) =>
    withRawTerminal(({ stdin, stdout, size, onResize }) =>
      guest.shell({ stdin, stdout, ...size, onResize, term, signal }),
    ),
  );
}
