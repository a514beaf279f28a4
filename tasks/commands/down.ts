import type { Command } from '@commander-js/extra-typings';

/** `lab down`: shuts machines down, the guest first. */
export function addDown(program: Command, signal: AbortSignal): void {
  program
    .command('down')
    .summary('shut the machine down')
    .description(
      'Shuts the guest down (file systems clean), then QEMU. Its disk is kept for the next `lab up`.',
    )
    .argument('[machine]', 'name of the machine (default: the only one that runs)')
    .option('--all', 'all running machines')
    .option('--force', 'do not ask the guest: end QEMU at once')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', '\nExamples:\n  lab down\n  lab down my-rng --force\n  lab down --all')
    .action((name, flags) => down(name, flags, signal));
}

interface Flags {
  readonly all?: true;
  readonly force?: true;
  readonly json?: true;
}

async function down(name: string | undefined, flags: Flags, signal: AbortSignal): Promise<void> {
  const { takeDown } = await import('../../src/lab/take-down.js');
  const { hostTimeouts } = await import('../host.js');
  const { tidyNetworks } = await import('../tidy.js');
  const names = await machinesMeant(name, flags);
  await tidyNetworks({ except: names });
  const results: { name: string; how: string }[] = [];
  for (const machine of names) {
    const options = { force: flags.force === true, timeouts: hostTimeouts(), signal };
    const how = await takeDown(machine, options);
    results.push({ name: machine, how });
    if (flags.json !== true) process.stdout.write(`${machine}: ${WORDS[how]}\n`);
  }
  if (flags.json === true) process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
  else if (names.length === 0) process.stdout.write('no machine is running\n');
}

const WORDS = {
  guest: 'shut down by its guest',
  quit: 'QEMU was ended; the guest was not asked or did not answer',
  killed: 'QEMU was killed; it did not answer',
  'not running': 'not running',
} as const;

/** Nothing running and nothing named is no error: the wish is fulfilled. */
async function machinesMeant(name: string | undefined, flags: Flags): Promise<string[]> {
  const { runningMachine, runningMachines } = await import('../target.js');
  const running = runningMachines().map((record) => record.name);
  if (flags.all === true || (name === undefined && running.length === 0)) return running;
  const { recordedMachines } = await import('../../src/machine/record.js');
  if (name !== undefined && recordedMachines().includes(name)) return [name];
  return [runningMachine(name).name];
}
