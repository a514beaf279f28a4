import type { Command } from '@commander-js/extra-typings';

/** `lab logs`: everything the machine printed on its console since it started. */
export function addLogs(program: Command, signal: AbortSignal): void {
  program
    .command('logs')
    .summary('show the console log')
    .description('Prints the console of the machine from its first byte, also of one that has ended.')
    .argument('[machine]', 'name of the machine (default: the only one that runs)')
    .option('-f, --follow', 'go on as it grows, until Ctrl-C')
    .option('--qmp', "the monitor's traffic instead")
    .option('--qemu', "QEMU's own output instead")
    .addHelpText('after', '\nExamples:\n  lab logs\n  lab logs -f\n  lab logs my-rng --qmp')
    .action((name, flags) => logs(name, flags, signal));
}

interface Flags {
  readonly follow?: true;
  readonly qmp?: true;
  readonly qemu?: true;
}

async function logs(name: string | undefined, flags: Flags, signal: AbortSignal): Promise<void> {
  const { createReadStream, existsSync } = await import('node:fs');
  const { join } = await import('node:path');
  const { pipeline } = await import('node:stream/promises');
  const { follow } = await import('../../src/host/follow.js');
  const { machineFolder } = await import('../../src/machine/record.js');
  const { runningMachine } = await import('../target.js');
  const file = flags.qmp === true ? 'qmp.log' : flags.qemu === true ? 'qemu.log' : 'console.log';
  const ended = name === undefined ? undefined : join(machineFolder(name), file);
  const path =
    ended !== undefined && existsSync(ended) ? ended : join(machineFolder(runningMachine(name).name), file);
  if (flags.follow !== true) return await pipeline(createReadStream(path), process.stdout, { end: false });
  for await (const chunk of follow(path, { from: 0, signal })) process.stdout.write(chunk);
}
