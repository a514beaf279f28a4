import type { Command } from '@commander-js/extra-typings';
import type { SourcePlan } from '../../src/sources/plan.js';
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

async function sources(name: string, flags: UpFlags & { json?: true }, signal: AbortSignal): Promise<void> {
  const { loadLab } = await import('../../src/lab/registry.js');
  const { planSources } = await import('../../src/lab/plan.js');
  const { hostTimeouts } = await import('../host.js');
  const lab = await loadLab(name);
  const options = upOptions(lab, { ...flags, accel: 'auto', net: 'user', port: 0, memory: 1024 });
  const step = { id: 'sources', signal, progress: () => {}, output: () => {}, note: () => {} };
  const context = { step, timeouts: hostTimeouts() };
  const plans = await planSources(options, context);
  if (flags.json === true) process.stdout.write(`${JSON.stringify(plans, null, 2)}\n`);
  else process.stdout.write(plans.map(describePlan).join('\n'));
}

function describePlan({ project, wanted, places }: SourcePlan): string {
  const used = places.find(({ state }) => state !== 'skipped');
  const rows = places.map((place) => {
    const { kind, detail, version, state, remark } = place;
    const sign = place === used ? '→' : ' ';
    const differs = version !== undefined && version !== wanted ? ` (not ${wanted})` : '';
    const why = remark === undefined ? '' : `\n               ${remark}`;
    return `${sign} ${kind.padEnd(9)}${state.padEnd(9)}${detail}${differs}${why}\n`;
  });
  return `${project}: the exercise names ${wanted}\n${rows.join('')}`;
}
