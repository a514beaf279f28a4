import { createHash } from 'node:crypto';
import { kernelModuleFiles } from '../build/kernel-modules.js';
import { LabError } from '../errors.js';
import type { ExecResult, Guest } from '../guest/guest.js';
import { type PutItem, put } from '../guest/transfer.js';
import { digestFile, digestJson } from '../host/store.js';
import type { Timeouts } from '../timeouts.js';
import type { DeployedFile, KernelVariant, Lab } from './lab.js';
import type { Prepared } from './prepare.js';

type Parts = Pick<Prepared, 'linux' | 'modules' | 'programs'>;

/** Digest of everything that `deploy` would bring into the guest. */
export function deployDigest(lab: Lab, variant: KernelVariant, parts: Parts): string {
  const files = filesOf(lab, variant).map((file) => ({
    to: file.to,
    mode: file.mode,
    from: contentDigest(file, parts),
  }));
  const kernel = { release: parts.linux.release, modules: [...lab.kernelModules] };
  return digestJson({ files, kernel, script: script(lab, variant, parts) });
}

/**
 * Copies the lab's modules and programs into the guest, unless its disk holds them from before, and runs its deploy
 * commands. May be repeated: what an earlier deployment inserted is taken out first.
 *
 * @throws LabError `lab/deploy` with what the guest said.
 */
export async function deploy(
  guest: Guest,
  lab: Lab,
  variant: KernelVariant,
  parts: Parts,
  timeouts: Timeouts,
): Promise<void> {
  const own = filesOf(lab, variant).map((file) => item(file, parts));
  const items = [...own, ...(await kernelModuleItems(lab, parts))];
  const commands = script(lab, variant, parts);
  const sums = await checksums(items);
  const first = await guest.exec(`/bin/busybox sha256sum -c -s || exit ${ABSENT}\n${commands}`, {
    input: sums,
  });
  if (first.exitCode !== ABSENT) return judge(lab, first);
  await put(guest, items, { timeouts });
  judge(lab, await guest.exec(commands));
}

/** No command of a lab ends with this code: it is that of our own first line. */
const ABSENT = 97;

async function checksums(items: readonly PutItem[]): Promise<string> {
  const lines = items.map(async (item) => {
    const sum =
      'data' in item ? createHash('sha256').update(item.data).digest('hex') : await digestFile(item.from);
    return `${sum}  ${item.to}\n`;
  });
  return (await Promise.all(lines)).join('');
}

function judge(lab: Lab, { exitCode, stdout, stderr }: ExecResult): void {
  if (exitCode === 0) return;
  throw new LabError({
    code: 'lab/deploy',
    blame: 'host',
    fact: `deploying ${lab.name} in the guest failed with exit code ${exitCode}`,
    evidence: `${stdout}${stderr}`.trimEnd().split('\n').slice(-20),
    next: 'look at the guest with `lab logs` and `lab ssh`',
  });
}

function filesOf(lab: Lab, variant: KernelVariant): DeployedFile[] {
  return lab.files.filter(({ from }) => variant.modules || !('module' in from));
}

function script(lab: Lab, variant: KernelVariant, { linux }: Pick<Parts, 'linux'>): string {
  const index = lab.kernelModules.length > 0 ? [`depmod ${linux.release}`] : [];
  const lines = variant.modules ? [...lab.undeploy, ...lab.deploy] : lab.deployBuiltIn;
  return ['set -e', ...index, ...lines].join('\n');
}

/** Modules of the kernel itself that the lab loads, as files of the guest; `depmod` has to run before `modprobe`. */
export async function kernelModuleItems(lab: Lab, { linux }: Pick<Parts, 'linux'>): Promise<PutItem[]> {
  if (lab.kernelModules.length === 0) return [];
  return (await kernelModuleFiles(linux, lab.kernelModules)).map((file) => ({ ...file, mode: 0o644 }));
}

function contentDigest({ from }: DeployedFile, { modules, programs }: Parts): string {
  if ('text' in from) return from.text;
  const artifact = 'module' in from ? modules[from.module] : programs[from.program];
  return artifact?.digest ?? '';
}

function item({ from, to, mode }: DeployedFile, { modules, programs }: Parts): PutItem {
  if ('text' in from) return { data: from.text, to, mode };
  const path = 'module' in from ? modules[from.module]?.ko : programs[from.program]?.binary;
  if (path === undefined) throw new TypeError(`nothing was built for ${to}`);
  return { from: path, to, mode };
}
