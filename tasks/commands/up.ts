import type { Command } from '@commander-js/extra-typings';
import { addMachineOptions, addSourceOptions, labArgument, type UpFlags, upOptions } from '../options.js';

/** `lab up`: from nothing to a running machine with the lab deployed. */
export function addUp(program: Command, signal: AbortSignal): void {
  const command = program
    .command('up')
    .summary('build what is needed and start the machine')
    .description(
      'Fetches and builds QEMU, Linux, the module, the test programs and the guest image as far as the cache does\n' +
        'not hold them, starts the machine and deploys the lab in it. Run again, it answers at once, or does only\n' +
        'what an edit made necessary. Interrupted anywhere, it continues where it stopped.',
    )
    .addArgument(labArgument())
    .addHelpText('after', EXAMPLES);
  addMachineOptions(addSourceOptions(command as unknown as Command))
    .option('--json', 'print the result as JSON')
    .action(async (...args: unknown[]) => {
      const [lab, flags] = args as [string, UpFlags & { json?: true }];
      await up(lab, flags, signal);
    });
}

const EXAMPLES = `
Examples:
  lab up
  lab up my-rng --profile fast --timing
  lab up --variant built-in --name builtin
  lab up my-rng --variant further
  lab up --qemu ~/src/qemu-8.2.0-rc2.tar.xz --linux ~/src/linux-6.6.4
  lab up --qemu-patch mine.patch
  lab up --work my-rng-work
  lab up virtblkiosim --kernel distro
  sudo -E lab up --net tap`;

async function up(name: string, flags: UpFlags & { json?: true }, signal: AbortSignal): Promise<void> {
  const { chooseWork } = await import('../work.js');
  const { bringUp, upStepsFor } = await import('../../src/lab/bring-up.js');
  const { upNeeds } = await import('../../src/lab/needs.js');
  const { preflight } = await import('../preflight.js');
  const { hostTimeouts } = await import('../host.js');
  const { withDisplay } = await import('../ui/display.js');
  const options = await chooseWork(name, flags, signal, upOptions);
  await preflight({ yes: flags.yes === true, needs: upNeeds(options), signal });
  const display = { steps: upStepsFor(options), signal, timing: flags.timing === true };
  const result = await withDisplay(display, (context) =>
    bringUp(options, context, hostTimeouts(), async ({ record, machine, guest, started }) => {
      await guest.close();
      await machine.release();
      return { record, started };
    }),
  );
  const { describeMachine } = await import('../ui/machine.js');
  const { json } = flags;
  process.stdout.write(describeMachine(result.record, { json: json === true, started: result.started }));
}
