import { type Command, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import type { MadeWork } from '../../src/workfolder/make.js';
import { addReleaseOptions, labArgument, NO_GUEST, type TreeFlags, treeOptions } from '../options.js';

/** `lab work`: a folder with the vanilla sources and the exercise's skeleton. */
export function addWork(program: Command, signal: AbortSignal): void {
  const command = program
    .command('work')
    .summary('make a folder to do the exercise in: sources and skeleton')
    .description(
      "Makes a work folder: copies of the vanilla QEMU and Linux with the exercise's skeleton in them, a loadable\n" +
        'module, an application. The places to fill say TODO. `lab up --work DIR` builds what is in it and starts the\n' +
        'machine with it, and after an edit does only what the edit made necessary. `lab patch DIR` makes the patches\n' +
        'to hand in. Run again, it adds what is missing; what is there is never changed.',
    )
    .addArgument(labArgument());
  addReleaseOptions(command as unknown as Command)
    .option('--into <folder>', 'where (default: LAB-work)')
    .addOption(
      new Option('--only <part>', 'only this part (repeatable)').choices(PARTS).argParser(partsSoFar),
    )
    .option('-y, --yes', 'install missing host packages without asking')
    .option('--timing', 'print how long each step took')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', EXAMPLES)
    .action(async (...args: unknown[]) => {
      const [lab, flags] = args as [string, WorkFlags];
      await work(lab, flags, signal);
    });
}

/** A parser of one's own takes the place of the one that refuses what is no choice. */
function partsSoFar(value: string, before: string[] | undefined): string[] {
  if (PARTS.includes(value)) return [...(before ?? []), value];
  throw new InvalidArgumentError(`Allowed choices are ${PARTS.join(', ')}.`);
}

const PARTS = ['qemu', 'linux', 'module'];

const EXAMPLES = `
Examples:
  lab work                              # my-rng-work/ with qemu/ linux/ module/ my-app.c
  lab work --into ~/rng --only qemu
  lab work --qemu ~/src/qemu-8.2.0-rc2.tar.xz --linux ~/src/linux-6.6.4.tar.xz
  lab up --work my-rng-work && lab test`;

interface WorkFlags extends TreeFlags {
  readonly into?: string;
  readonly only?: string[];
  readonly yes?: true;
  readonly timing?: true;
  readonly json?: true;
}

async function work(name: string, flags: WorkFlags, signal: AbortSignal): Promise<void> {
  const { resolve } = await import('node:path');
  const { loadLab } = await import('../../src/lab/registry.js');
  const { makeWork, skeletonOf, workParts, workSteps } = await import('../../src/workfolder/make.js');
  const { preflight } = await import('../preflight.js');
  const { hostTimeouts } = await import('../host.js');
  const { withDisplay } = await import('../ui/display.js');
  const lab = await loadLab(name);
  skeletonOf(lab);
  await preflight({ yes: flags.yes === true, needs: ['sources'], signal });
  const parts = workParts.filter((part) => flags.only === undefined || flags.only.includes(part));
  const request = {
    options: treeOptions(lab, { ...flags, ...NO_GUEST }),
    folder: resolve(flags.into ?? `${name}-work`),
    parts,
  };
  const display = { steps: workSteps, signal, timing: flags.timing === true };
  const made = await withDisplay(display, (context) => makeWork(request, context, hostTimeouts()));
  const json = `${JSON.stringify({ folder: made.folder, made: made.made, ...made.record }, null, 2)}\n`;
  process.stdout.write(flags.json === true ? json : describe(made));
}

function describe({ folder, record, made }: MadeWork): string {
  const what = made.length === 0 ? 'is complete; nothing was changed' : `has now: ${made.join(', ')}`;
  const trees = Object.entries(record.trees).map(([name, from]) => {
    if (from === undefined) return '';
    const differs =
      from.version === from.wanted ? '' : `, in the place of ${from.wanted}, which is not to be had here`;
    return `  ${name.padEnd(8)} ${from.version} (${from.origin.kind}: ${from.origin.detail})${differs}\n`;
  });
  const next = `Next: fill the places that say TODO, then \`lab up ${record.lab} --work ${folder}\``;
  return `${folder} ${what}\n${trees.join('')}\n${next}\n`;
}
