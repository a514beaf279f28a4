import type { Command } from '@commander-js/extra-typings';

/** `lab cache`: what was downloaded and built, and how to get rid of it. */
export function addCache(program: Command, signal: AbortSignal): void {
  const cache = program
    .command('cache')
    .summary('look at, check and shrink the cache')
    .description('Downloads, sources, work trees and artifacts by digest, below $XDG_CACHE_HOME/lab.');
  cache
    .command('ls')
    .summary('list what it holds')
    .option('--json', 'print as JSON')
    .addHelpText('after', '\nExamples:\n  lab cache ls\n  lab cache ls --json')
    .action((flags) => list(flags.json === true));
  cache
    .command('verify')
    .summary('compare every artifact with its recorded digests')
    .option('--json', 'print as JSON')
    .option('--remove', 'remove what is damaged; it is made again when it is needed')
    .addHelpText('after', '\nExamples:\n  lab cache verify\n  lab cache verify --remove')
    .action((flags) => verify(flags, signal));
  cache
    .command('prune')
    .summary('remove what was not used for longest')
    .option('--older-than <days>', 'everything not used for so many days (default: 30)', Number, 30)
    .option('--all', 'everything; the next `lab up` starts from nothing')
    .option('--dry-run', 'only say what would go')
    .option('--json', 'print as JSON')
    .addHelpText('after', '\nExamples:\n  lab cache prune --older-than 7\n  lab cache prune --all --dry-run')
    .action((flags) => prune(flags));
  for (const command of cache.commands) command.exitOverride();
}

async function list(json: boolean): Promise<void> {
  const { cacheEntries } = await import('../../src/host/cache.js');
  const { bytes } = await import('../ui/progress.js');
  const entries = await cacheEntries();
  if (json) {
    process.stdout.write(`${JSON.stringify(entries, null, 2)}\n`);
    return;
  }
  for (const { kind, name, size, used } of entries) {
    const day = used.toISOString().slice(0, 16).replace('T', ' ');
    process.stdout.write(
      `${kind.padEnd(16)} ${name.slice(0, 40).padEnd(40)} ${bytes(size).padStart(10)}  used ${day}\n`,
    );
  }
  const total = entries.reduce((sum, { size }) => sum + size, 0);
  process.stdout.write(`${entries.length} entries, ${bytes(total)}\n`);
}

async function verify(flags: { json?: true; remove?: true }, signal: AbortSignal): Promise<void> {
  const { cacheEntries, removeEntry } = await import('../../src/host/cache.js');
  const { verifyArtifact } = await import('../../src/host/store.js');
  const { exitCodes } = await import('../exit-codes.js');
  const results: { name: string; damaged: string[] }[] = [];
  for (const entry of await cacheEntries()) {
    signal.throwIfAborted();
    if (!entry.isArtifact) continue;
    const damaged = await verifyArtifact(entry.path);
    results.push({ name: `${entry.kind}/${entry.name}`, damaged });
    if (damaged.length > 0 && flags.remove === true) await removeEntry(entry);
  }
  const bad = results.filter(({ damaged }) => damaged.length > 0);
  if (flags.json === true) process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
  else {
    for (const { name, damaged } of bad) process.stdout.write(`damaged: ${name}: ${damaged.join(', ')}\n`);
    process.stdout.write(`${results.length - bad.length} intact, ${bad.length} damaged\n`);
    if (bad.length > 0 && flags.remove !== true) process.stdout.write('\nNext: lab cache verify --remove\n');
  }
  if (bad.length > 0 && flags.remove !== true) process.exitCode = exitCodes.failed;
}

interface PruneFlags {
  readonly olderThan: number;
  readonly all?: true;
  readonly dryRun?: true;
  readonly json?: true;
}

async function prune(flags: PruneFlags): Promise<void> {
  const { cacheEntries, removeEntry } = await import('../../src/host/cache.js');
  const { bytes } = await import('../ui/progress.js');
  const limit = Date.now() - flags.olderThan * 86_400_000;
  const chosen = (await cacheEntries()).filter(({ used }) => flags.all === true || used.getTime() < limit);
  if (flags.dryRun !== true) for (const entry of chosen) await removeEntry(entry);
  if (flags.json === true) {
    process.stdout.write(`${JSON.stringify(chosen, null, 2)}\n`);
    return;
  }
  const total = chosen.reduce((sum, { size }) => sum + size, 0);
  for (const { kind, name } of chosen) process.stdout.write(`${kind}/${name}\n`);
  const verb = flags.dryRun === true ? 'would be removed' : 'removed';
  process.stdout.write(`${chosen.length} entries, ${bytes(total)} ${verb}\n`);
}
