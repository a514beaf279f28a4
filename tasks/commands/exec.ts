import type { Command } from '@commander-js/extra-typings';

/** `lab exec`: one command in the guest, with its output and its exit code. */
export function addExec(program: Command, signal: AbortSignal): void {
  program
    .command('exec')
    .summary('run a command in the guest')
    .description(
      "Runs a command in the guest as root. Standard output, standard error and the exit code are the command's.",
    )
    .argument('<command...>', 'the command and its arguments, after --')
    .option('-m, --machine <name>', 'name of the machine (default: the only one that runs)')
    .addHelpText('after', "\nExamples:\n  lab exec -- lspci -nn\n  lab exec -- sh -c 'dmesg | tail -n 5'")
    .action((command, flags) => exec(command, flags.machine, signal));
}

async function exec(
  command: readonly string[],
  name: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { runningMachine } = await import('../target.js');
  const { withGuest } = await import('../../src/lab/connect.js');
  const { hostTimeouts } = await import('../host.js');
  await withGuest(runningMachine(name), hostTimeouts(), signal, async (guest) => {
    await using running = await guest.spawn(command, { signal });
    if (!process.stdin.isTTY) process.stdin.pipe(running.stdin);
    running.stdout.pipe(process.stdout, { end: false });
    running.stderr.pipe(process.stderr, { end: false });
    const { exitCode, signal: killedBy } = await running.wait({ signal });
    if (killedBy !== undefined) process.stderr.write(`lab: the command was killed by ${killedBy}\n`);
    process.exitCode = exitCode;
  });
}
