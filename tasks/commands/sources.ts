import type { Command } from '@commander-js/extra-typings';
import { addSourceOptions, labArgument, type UpFlags, upOptions } from '../options.js';

/** `lab sources`: where QEMU and Linux would come from, without building. */
export function addSources(program: Command, signal: AbortSignal): void {
  const command = program
    .command('sources')
    .summary('show where the sources come from')
    .description(
      'Prints, for each project, what would be tried in which order and what the cache holds. Builds nothing.',
    )
    .addArgument(labArgument())
    .addHelpText(
      'after',
      '\nExamples:\n  lab sources\n  lab sources --json\n  lab sources --qemu ~/src/qemu-8.2.2',
    );
  addSourceOptions(command as unknown as Command)
    .option('--json', 'print as JSON')
    .action(async (...args: unknown[]) => {
      const [lab, flags] = args as [string, UpFlags & { json?: true }];
      await sources(lab, flags, signal);
    });
}

async function sources(name: string, flags: UpFlags & { json?: true }, _signal: AbortSignal): Promise<void> {
  const { loadLab } = await import('../../src/lab/registry.js');
  const { sourceRequest } = await import('../../src/lab/prepare.js');
  const { planSource } = await import('../../src/sources/plan.js');
  const lab = await loadLab(name);
  const options = upOptions(lab, { ...flags, profile: 'course', accel: 'auto', port: 0, memory: 1024 });
  const plans = await Promise.all(
    (['qemu', 'linux'] as const).map((project) => planSource(sourceRequest(project, options))),
  );
  if (flags.json === true) process.stdout.write(`${JSON.stringify(plans, null, 2)}\n`);
  else for (const plan of plans) process.stdout.write(describe(plan));
}
