import { recallDistroLinux } from '../build/distro-linux.js';
import { systemQemu } from '../build/system-qemu.js';
import type { BuildContext } from '../build/worktree.js';
import { LabError } from '../errors.js';
import { planSource, type SourcePlan } from '../sources/plan.js';
import { type PrepareOptions, sourceRequest, usesSystemQemu } from './prepare.js';

/** Where `prepare` would get QEMU and Linux from with these options. Downloads no sources and no packages. */
export async function planSources(options: PrepareOptions, context: BuildContext): Promise<SourcePlan[]> {
  const { lab, kernel } = options;
  const source = (project: 'qemu' | 'linux') => planSource(sourceRequest(project, options), context);
  return [
    usesSystemQemu(options) ? await installed(lab.versions.qemu, context) : await source('qemu'),
    kernel === 'distro' ? await packaged(lab.versions.linux) : await source('linux'),
  ];
}

async function installed(wanted: string, context: BuildContext): Promise<SourcePlan> {
  const place = { kind: 'system', version: undefined } as const;
  try {
    const { origin, version } = await systemQemu(context);
    return { project: 'qemu', wanted, places: [{ ...place, detail: origin, version, state: 'cached' }] };
  } catch (error) {
    if (!(error instanceof LabError) || !error.code.startsWith('host/')) throw error;
    const missing = {
      ...place,
      detail: 'qemu-system-x86_64',
      state: 'skipped',
      remark: error.message,
    } as const;
    return { project: 'qemu', wanted, places: [missing] };
  }
}

async function packaged(wanted: string): Promise<SourcePlan> {
  const known = await recallDistroLinux();
  const place =
    known === undefined
      ? ({ detail: 'the newest linux-image-amd64', version: undefined, state: 'to try' } as const)
      : ({ detail: known.origin, version: known.debs.image.version, state: 'cached' } as const);
  return { project: 'linux', wanted, places: [{ kind: 'debian', ...place }] };
}
