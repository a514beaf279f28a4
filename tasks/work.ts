import { LabError } from '../src/errors.js';
import type { Step } from '../src/events.js';
import type { Lab } from '../src/lab/lab.js';
import type { PrepareOptions } from '../src/lab/prepare.js';

/** The flags of a command that takes `--work`, with those that contradict it. */
export interface WorkFlags {
  readonly work?: string | undefined;
  readonly qemu?: string | undefined;
  readonly qemuVersion?: string | undefined;
  readonly linux?: string | undefined;
  readonly linuxVersion?: string | undefined;
  readonly qemuPatch?: readonly string[];
  readonly linuxPatch?: readonly string[];
  readonly kernel?: PrepareOptions['kernel'];
}

/**
 * What `lab up`, `lab test` and `lab fuzz` make a machine of: the lab as it ships, or with a student's work in it.
 *
 * @param options what the flags mean for a lab.
 * @throws LabError `usage/work` for flags that contradict each other, `work/…`.
 */
export async function chooseWork<F extends WorkFlags, O extends PrepareOptions>(
  name: string,
  flags: F,
  signal: AbortSignal,
  options: (lab: Lab, flags: F) => O,
): Promise<O> {
  const { loadLab } = await import('../src/lab/registry.js');
  const lab = await loadLab(name);
  if (flags.work === undefined) return options(lab, flags);
  requireAlone(flags);
  const { findWork } = await import('../src/workfolder/record.js');
  const { labInWork } = await import('../src/workfolder/use.js');
  const { hostTimeouts } = await import('./host.js');
  const work = await findWork(flags.work);
  if (work.record.lab !== lab.name) throw otherLab(work.folder, work.record.lab);
  const used = await labInWork(lab, work, { step: noteStep(signal), timeouts: hostTimeouts() });
  const { qemu, linux } = used;
  const chosen = options(used.lab, flags);
  return { ...chosen, ...(qemu === undefined ? {} : { qemu }), ...(linux === undefined ? {} : { linux }) };
}

/** A work folder knows which sources it belongs to. */
function requireAlone({
  qemu,
  qemuVersion,
  linux,
  linuxVersion,
  qemuPatch,
  linuxPatch,
  kernel,
}: WorkFlags): void {
  const against = [
    ...Object.entries({ qemu, 'qemu-version': qemuVersion, linux, 'linux-version': linuxVersion })
      .filter(([, value]) => value !== undefined)
      .map(([flag]) => `--${flag}`),
    ...(qemuPatch?.length ? ['--qemu-patch'] : []),
    ...(linuxPatch?.length ? ['--linux-patch'] : []),
    ...(kernel === 'distro' ? ['--kernel distro'] : []),
  ];
  if (against.length === 0) return;
  throw new LabError({
    code: 'usage/work',
    blame: 'user',
    fact: `--work says already what QEMU and Linux are made of, and so does ${against.join(', ')}`,
    next: 'leave one of them out; `lab work` takes these options when it makes a folder',
  });
}

function otherLab(folder: string, lab: string): LabError {
  return new LabError({
    code: 'usage/work',
    blame: 'user',
    fact: `${folder} is a work folder of the lab ${lab}`,
    next: `lab up ${lab} --work ${folder}`,
  });
}

/** A step before there is a display: it takes a second or two. */
function noteStep(signal: AbortSignal): Step {
  const note = (text: string) => void process.stderr.write(`${text}\n`);
  return { id: 'work', signal, progress: () => {}, output: () => {}, note };
}
