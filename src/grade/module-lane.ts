import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { KernelReport } from '../console/kernel-report.js';
import { put } from '../guest/transfer.js';
import type { CheckTarget } from '../lab/check.js';
import { kernelModuleItems } from '../lab/deploy.js';
import type { Lab } from '../lab/lab.js';
import type { LineCheck, ModuleSetup } from '../lab/module-checks.js';
import type { Prepared } from '../lab/prepare.js';
import { fileNames } from '../machine/arguments.js';
import type { Machine } from '../machine/machine.js';
import { loadProfile } from '../machine/profiles.js';
import type { ConsoleExcerpt, GradedCheck } from './grade-report.js';
import type { JudgeRun } from './grading.js';
import { consoleExcerpt, gradedCheck } from './lane-result.js';
import { guardedCheck, type ModuleFindings } from './module-guard.js';
import type { ModuleLab } from './module-lab.js';
import { runChecks } from './run-checks.js';
import { withSealedMachine } from './sealed-machine.js';

/** The checks of one machine. */
export interface ModuleLaneSpec {
  /** Names its folder and stage. */
  readonly stage: string;
  /** For evidence. */
  readonly on: string;
  readonly group: string;
  readonly isWanted: (line: string) => boolean;
  /** Host paths by name. */
  readonly modules: Readonly<Record<string, string>>;
  readonly programs: Readonly<Record<string, string>>;
  readonly withoutCpu?: readonly string[];
}

export interface ModuleLaneResult {
  readonly on: string;
  readonly checks: readonly { readonly line: string; readonly graded: GradedCheck }[];
  readonly findings: ModuleFindings;
  readonly console: ConsoleExcerpt;
  readonly reports: readonly KernelReport[];
}

/**
 * Boots a machine with the lab's kernel and runs the checks of one group on it. Whatever the modules do to it is a
 * verdict.
 *
 * @throws LabError for a fault of the host, and `interrupted`: nothing of the student's runs before the machine is up.
 */
export async function runModuleLane(
  spec: ModuleLaneSpec,
  { lab, checks }: Pick<ModuleLab, 'lab' | 'checks'>,
  prepared: Prepared,
  run: JudgeRun,
): Promise<ModuleLaneResult> {
  return await run.stages.run(spec.stage, `Boot: ${spec.on}`, async () => {
    const dir = join(run.dir, spec.stage);
    await mkdir(dir, { recursive: true });
    const { qemu, linux, image } = prepared;
    const profile = loadProfile(lab.profile);
    const boot = {
      ...{ name: 'guest', dir, qemu, kernel: linux.vmlinux, image, qemuImg: qemu.img, profile },
      ...{ devices: lab.devices, withoutCpu: spec.withoutCpu ?? [] },
    };
    return await withSealedMachine(boot, run, async (machine, guest) => {
      const { nonce, timeouts } = run;
      const variant = Object.keys(lab.variants)[0] ?? '';
      const live = { lab: lab.name, machine, guest, profile: profile.name, variant, timeouts, nonce };
      const setup = await copyIn(lab, spec, prepared, live);
      return await judge(spec, checks(setup), live, run);
    });
  });
}

/** In a folder, and programs under names, that no module can know. */
async function copyIn(
  lab: Lab,
  { modules, programs }: ModuleLaneSpec,
  prepared: Prepared,
  { guest, timeouts }: CheckTarget,
): Promise<ModuleSetup> {
  const folder = `/tmp/${randomBytes(8).toString('hex')}`;
  const placed = (items: Readonly<Record<string, string>>, to: (from: string) => string) =>
    Object.entries(items).map(([name, from]) => ({ name, from, to: to(from) }));
  const kos = placed(modules, (from) => `${folder}/${basename(from)}`);
  // the kernel knows a module by its own name anyway
  const tools = placed(programs, (from) => {
    const name = randomBytes(8).toString('hex');
    return from.endsWith('.ko') ? `${folder}/${name}/${basename(from)}` : `${folder}/${name}`;
  });
  const texts = lab.files.flatMap(({ from, to }) =>
    'text' in from ? [{ name: basename(to), data: from.text, to: `${folder}/${basename(to)}` }] : [],
  );
  const items = [
    ...kos.map(({ from, to }) => ({ from, to, mode: 0o644 })),
    ...tools.map(({ from, to }) => ({ from, to, mode: 0o755 })),
    ...texts.map(({ data, to }) => ({ data, to, mode: 0o644 })),
    ...(await kernelModuleItems(lab, prepared)),
  ];
  await put(guest, items, { timeouts });
  if (lab.kernelModules.length > 0) await guest.exec(['depmod', prepared.linux.release], { check: true });
  const paths = (list: readonly { name: string; to: string }[]) =>
    Object.fromEntries(list.map(({ name, to }) => [name, to]));
  return { modules: paths(kos), programs: paths([...tools, ...texts]) };
}

async function judge(
  spec: ModuleLaneSpec,
  all: readonly LineCheck[],
  target: CheckTarget & { readonly machine: Machine },
  { signal, dir }: JudgeRun,
): Promise<ModuleLaneResult> {
  const findings: ModuleFindings = { late: 0 };
  const own = all.filter((check) => check.machine === spec.group && spec.isWanted(check.line));
  const ids = new Set(own.map(({ id }) => id));
  const checks = own.map((check) => guardedCheck(withNeedsIn(check, ids), findings));
  const verdicts = await runChecks(checks, target, { signal });
  const graded = verdicts.map((verdict, i) => ({
    line: checks[i]?.line ?? '',
    graded: gradedCheck(verdict, spec.on),
  }));
  const log = join(basename(dir), spec.stage, fileNames.console);
  return {
    ...{ on: spec.on, checks: graded, findings },
    ...consoleExcerpt(spec.on, target.machine.console.lines(), log),
  };
}

/** What a check builds on may run on another machine, or not at all in this run. */
function withNeedsIn(check: LineCheck, ids: ReadonlySet<string>): LineCheck {
  return { ...check, needs: (check.needs ?? []).filter((need) => ids.has(need)) };
}
