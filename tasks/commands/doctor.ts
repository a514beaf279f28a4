import type { Command } from '@commander-js/extra-typings';
import { exitCodes } from '../exit-codes.js';

/** `lab doctor`: what this host has and lacks. */
export function addDoctor(program: Command, signal: AbortSignal): void {
  program
    .command('doctor')
    .summary('check this host, and install what is missing')
    .description('Looks for every program and library that is needed, for space, speed, and acceleration.')
    .option('--fix', 'install what is missing')
    .option('-y, --yes', 'do not ask before installing')
    .option('--json', 'print as JSON')
    .addHelpText('after', '\nExamples:\n  lab doctor\n  lab doctor --fix --yes')
    .action((flags) => doctor(flags, signal));
}

interface Flags {
  readonly fix?: true;
  readonly yes?: true;
  readonly json?: true;
}

interface Finding {
  readonly what: string;
  readonly state: 'ok' | 'missing' | 'note';
  readonly detail: string;
}

async function doctor(flags: Flags, signal: AbortSignal): Promise<void> {
  const { missingTools, NEEDS, TOOLS } = await import('../../src/build/tools.js');
  const { install } = await import('../preflight.js');
  const { hostTimeouts } = await import('../host.js');
  const timeouts = hostTimeouts();
  const look = () => missingTools(NEEDS, { timeouts, signal });
  let missing = await look();
  if (missing.length > 0 && flags.fix === true) {
    await install(missing, NEEDS, signal);
    missing = await look();
  }
  const tools = TOOLS.map(({ name, package: holder }): Finding => {
    const state = missing.some((tool) => tool.name === name) ? 'missing' : 'ok';
    return { what: name, state, detail: `package ${holder}` };
  });
  const findings = [...tools, ...(await hostFindings(signal))];
  await print(findings, missing, flags);
  if (missing.length > 0) process.exitCode = exitCodes.host;
}

async function hostFindings(signal: AbortSignal): Promise<Finding[]> {
  const { statfs, mkdir } = await import('node:fs/promises');
  const { cpus, totalmem } = await import('node:os');
  const { hostScale } = await import('../../src/host/speed.js');
  const { cacheRoot } = await import('../../src/host/paths.js');
  const { bytes } = await import('../ui/progress.js');
  await mkdir(cacheRoot(), { recursive: true });
  const { bavail, bsize } = await statfs(cacheRoot());
  const scale = hostScale();
  const slow = scale <= 1 ? 'deadlines as they are' : `all deadlines × ${scale.toFixed(1)}`;
  return [
    { what: 'processors', state: 'ok', detail: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}` },
    { what: 'memory', state: 'ok', detail: bytes(totalmem()) },
    { what: 'space', state: 'ok', detail: `${bytes(bavail * bsize)} free for ${cacheRoot()}` },
    { what: 'speed', state: 'ok', detail: `${(1 / scale).toFixed(1)} × the reference host: ${slow}` },
    await acceleration(signal),
    await sandbox(signal),
    await tap(),
  ];
}

/** Only `lab grade` needs it: a host without it can do everything else. */
async function sandbox(signal: AbortSignal): Promise<Finding> {
  const { LabError } = await import('../../src/errors.js');
  const { requireSandbox } = await import('../../src/sandbox/probe.js');
  const { hostTimeouts } = await import('../host.js');
  try {
    const { weaknesses } = await requireSandbox({ signal, timeouts: hostTimeouts() });
    const state = weaknesses.length === 0 ? 'ok' : 'note';
    return {
      what: 'sandbox',
      state,
      detail: ['code of submissions can be confined', ...weaknesses].join('; '),
    };
  } catch (error) {
    if (!(error instanceof LabError) || error.code !== 'sandbox/unavailable') throw error;
    const reasons = error.evidence.slice(0, 3).join('; ');
    return { what: 'sandbox', state: 'note', detail: `\`lab grade\` will refuse: ${reasons}. ${error.next}` };
  }
}

/** Only `--net tap` needs it. */
async function tap(): Promise<Finding> {
  const { isNetworkAdmin, requireTunDriver } = await import('../../src/machine/tap-require.js');
  const problem = await requireTunDriver().then(
    () => undefined,
    (error: Error) => error.message,
  );
  if (problem !== undefined) return { what: 'tap', state: 'note', detail: problem };
  if (await isNetworkAdmin()) return { what: 'tap', state: 'ok', detail: 'this host can have --net tap' };
  return { what: 'tap', state: 'note', detail: '--net tap takes root, or a device made by an administrator' };
}

/** Only a boot tells, and that takes a QEMU and a kernel: those that `lab up` built last. */
async function acceleration(signal: AbortSignal): Promise<Finding> {
  const { latestBootable } = await import('../../src/lab/bootable.js');
  const { chooseAccelerator, kvmProblem } = await import('../../src/machine/accelerator.js');
  const { hostTimeouts } = await import('../host.js');
  const problem = kvmProblem();
  if (problem !== undefined) return { what: 'acceleration', state: 'note', detail: `tcg: ${problem}` };
  const bootable = await latestBootable();
  if (bootable === undefined) {
    const detail = '/dev/kvm opens; whether a kernel runs under it is tried by the first `lab up`';
    return { what: 'acceleration', state: 'note', detail };
  }
  const choice = await chooseAccelerator({ ...bootable, timeouts: hostTimeouts(), signal });
  return { what: 'acceleration', state: 'note', detail: `${choice.accelerator}: ${choice.reason}` };
}

async function print(
  findings: readonly Finding[],
  missing: readonly { package: string }[],
  flags: Flags,
): Promise<void> {
  const { installCommand } = await import('../../src/host/packages.js');
  const packages = [...new Set(missing.map((tool) => tool.package))];
  const fix = packages.length > 0 ? installCommand(packages).join(' ') : undefined;
  if (flags.json === true) {
    process.stdout.write(`${JSON.stringify({ ok: missing.length === 0, findings, fix }, null, 2)}\n`);
    return;
  }
  for (const { what, state, detail } of findings) {
    process.stdout.write(`${state.padEnd(8)} ${what.padEnd(22)} ${detail}\n`);
  }
  process.stdout.write(
    fix === undefined ? '\nnothing is missing\n' : `\nNext: ${fix}   (or \`lab doctor --fix\`)\n`,
  );
}
