import { basename, posix } from 'node:path';
import type { Command } from '@commander-js/extra-typings';
import { LabError } from '../../src/errors.js';

/** `lab cp`: files to and from the guest. */
export function addCp(program: Command, signal: AbortSignal): void {
  program
    .command('cp')
    .summary('copy files to or from the guest')
    .description('Copies files or folders. A path that begins with a colon is in the guest.')
    .argument('<paths...>', 'one or more files and last :path in the guest; or :path and last a path here')
    .option('-m, --machine <name>', 'name of the machine (default: the only one that runs)')
    .addHelpText(
      'after',
      '\nExamples:\n  lab cp a.out :/root/\n  lab cp :/var/log/messages .\n  lab cp -m my-rng x.ko :/tmp/y.ko',
    )
    .usage('[options] <from...> <to>')
    .action((paths, flags) => copy(paths, flags.machine, signal));
}

async function copy(paths: readonly string[], name: string | undefined, signal: AbortSignal): Promise<void> {
  const { runningMachine } = await import('../target.js');
  const { withGuest } = await import('../../src/lab/connect.js');
  const { get, put } = await import('../../src/guest/transfer.js');
  const { hostTimeouts } = await import('../host.js');
  const plan = parsePaths(paths);
  const timeouts = hostTimeouts();
  await withGuest(runningMachine(name), timeouts, signal, async (guest) => {
    if (plan.direction === 'get') await get(guest, plan.from, plan.to, { timeouts, signal });
    else await put(guest, await putItems(plan), { timeouts, signal });
  });
}

type Plan =
  | { readonly direction: 'get'; readonly from: string; readonly to: string }
  | { readonly direction: 'put'; readonly from: readonly string[]; readonly to: string };

/**
 * Tells sources from the target and the guest's paths from ours.
 *
 * @throws LabError `usage/cp`.
 */
export function parsePaths(paths: readonly string[]): Plan {
  const from = paths.slice(0, -1);
  const to = paths.at(-1) ?? '';
  const inGuest = (path: string) => path.startsWith(':');
  const [first] = from;
  if (first === undefined) throw usage('one path is not enough: what is copied, and where to');
  if (inGuest(to) && !from.some(inGuest)) return { direction: 'put', from, to: to.slice(1) };
  if (!inGuest(to) && from.length === 1 && inGuest(first))
    return { direction: 'get', from: first.slice(1), to };
  throw usage(
    'either the target is in the guest, or one source is (a path in the guest begins with a colon)',
  );
}

function usage(fact: string): LabError {
  return new LabError({ code: 'usage/cp', blame: 'user', fact, next: 'see `lab cp --help`' });
}

/** A target that ends in a slash, and every target of several files, is a folder. */
async function putItems({ from, to }: Extract<Plan, { direction: 'put' }>) {
  const { stat } = await import('node:fs/promises');
  const folder = to.endsWith('/') || from.length > 1;
  return await Promise.all(
    from.map(async (path) => {
      const info = await stat(path).catch(() => undefined);
      if (info === undefined) throw usage(`there is no file ${path}`);
      return { from: path, to: folder ? posix.join(to, basename(path)) : to, mode: info.mode & 0o777 };
    }),
  );
}
