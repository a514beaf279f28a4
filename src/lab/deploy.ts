import { LabError } from '../errors.js';
import type { Guest } from '../guest/guest.js';
import { type PutItem, put } from '../guest/transfer.js';
import { digestJson } from '../host/store.js';
import type { Timeouts } from '../timeouts.js';
import type { DeployedFile, KernelVariant, Lab } from './lab.js';
import type { Prepared } from './prepare.js';

type Parts = Pick<Prepared, 'modules' | 'programs'>;

/** Digest of everything that `deploy` would bring into the guest. */
export function deployDigest(lab: Lab, variant: KernelVariant, parts: Parts): string {
  const files = filesOf(lab, variant).map((file) => ({
    to: file.to,
    mode: file.mode,
    from: contentDigest(file, parts),
  }));
  return digestJson({ files, script: script(lab, variant) });
}

/**
 * Copies the lab's modules and programs into the guest and runs its deploy commands. May be repeated: what an
 * earlier deployment inserted is taken out first.
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
  await put(
    guest,
    filesOf(lab, variant).map((file) => item(file, parts)),
    { timeouts },
  );
  const result = await guest.exec(script(lab, variant), { timeout: timeouts.guestCommand });
  if (result.exitCode === 0) return;
  throw new LabError({
    code: 'lab/deploy',
    blame: 'host',
    fact: `deploying ${lab.name} in the guest failed with exit code ${result.exitCode}`,
    evidence: `${result.stdout}${result.stderr}`.trimEnd().split('\n').slice(-20),
    next: 'look at the guest with `lab logs` and `lab ssh`',
  });
}

function filesOf(lab: Lab, variant: KernelVariant): DeployedFile[] {
  return lab.files.filter(({ from }) => variant.modules || !('module' in from));
}

function script(lab: Lab, variant: KernelVariant): string {
  const lines = variant.modules ? [...lab.undeploy, ...lab.deploy] : lab.deployBuiltIn;
  return ['set -e', ...lines].join('\n');
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
