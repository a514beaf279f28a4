import type { Command } from '@commander-js/extra-typings';

/** `lab status`: what runs, made of what. */
export function addStatus(program: Command, _signal: AbortSignal): void {
  program
    .command('status')
    .summary('show the machines that run')
    .argument('[machine]', 'only this one')
    .option('--json', 'print as JSON')
    .addHelpText('after', '\nExamples:\n  lab status\n  lab status --json | jq .[].ssh.port')
    .action((name, flags) => status(name, flags.json === true));
}

async function status(name: string | undefined, json: boolean): Promise<void> {
  const { runningMachine, runningMachines } = await import('../target.js');
  const { describeMachine, machineJson } = await import('../ui/machine.js');
  const { tidyNetworks } = await import('../tidy.js');
  await tidyNetworks();
  const records = name === undefined ? runningMachines() : [runningMachine(name)];
  if (json) process.stdout.write(`${JSON.stringify(records.map(machineJson), null, 2)}\n`);
  else if (records.length === 0)
    process.stdout.write('no machine is running\n\nNext: start one with `lab up`\n');
  else {
    const texts = records.map((record) => describeMachine(record, { json: false, started: true }));
    process.stdout.write(texts.join('\n'));
  }
}
