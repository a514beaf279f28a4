import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Contribution } from '../build/contribution.js';
import type { Step } from '../events.js';
import type { Project } from '../intake/submission.js';
import type { Lab } from '../lab/lab.js';
import type { SourceChoice } from '../lab/prepare.js';
import type { Timeouts } from '../timeouts.js';
import { differencesIn } from './differences.js';
import { skeletonOf } from './make.js';
import { choiceOf, pristineOf } from './pristine.js';
import type { WorkFolder } from './record.js';

/** A lab with the student's work in the place of its own, and the sources that the work belongs to. */
export interface LabInWork {
  readonly lab: Lab;
  readonly qemu?: SourceChoice;
  readonly linux?: SourceChoice;
}

/**
 * The lab as it is with what is in a work folder. The vanilla sources are built as ever, with the student's files put
 * into them: so the cache's build trees serve, and only what was edited is compiled. A tree that the folder has not,
 * or that was not changed, leaves its part of the lab as it is.
 *
 * @throws LabError `work/no-pristine`, `work/foreign`; `interrupted`; what finding the sources throws.
 */
export async function labInWork(
  lab: Lab,
  work: WorkFolder,
  context: { readonly step: Step; readonly timeouts: Timeouts },
): Promise<LabInWork> {
  const { trees } = work.record;
  const qemu = trees.qemu === undefined ? undefined : await filesIn(lab, work, 'qemu', context);
  const linux = trees.linux === undefined ? undefined : await filesIn(lab, work, 'linux', context);
  const variants = Object.entries(lab.variants).map(([name, variant]) => {
    const own = variant.contributions.length > 0 ? linux : undefined;
    return [name, own === undefined ? variant : { ...variant, contributions: own }] as const;
  });
  const { modules, programs } = skeletonOf(lab);
  return {
    lab: {
      ...lab,
      qemu: qemu ?? lab.qemu,
      variants: Object.fromEntries(variants),
      modules: { ...lab.modules, ...present(work.folder, modules) },
      programs: { ...lab.programs, ...present(work.folder, programs) },
    },
    ...(trees.qemu === undefined ? {} : { qemu: choiceOf(trees.qemu) }),
    ...(trees.linux === undefined ? {} : { linux: choiceOf(trees.linux) }),
  };
}

async function filesIn(
  lab: Lab,
  work: WorkFolder,
  project: Project,
  context: { readonly step: Step; readonly timeouts: Timeouts },
): Promise<Contribution[]> {
  const quiet = { ...context, step: { ...context.step, note: () => {} } }; // building says where it comes from
  const source = await pristineOf(work, project, quiet);
  const { contributed } = await differencesIn({ lab, work, project, source }, context);
  return contributed.map(({ path, kind }) =>
    kind === 'deleted'
      ? { kind: 'removal', path }
      : { kind: 'file', to: path, from: join(work.folder, project, path) },
  );
}

function present(folder: string, paths: Readonly<Record<string, string>>): Record<string, string> {
  const full = Object.entries(paths).map(([name, path]) => [name, join(folder, path)] as const);
  return Object.fromEntries(full.filter(([, path]) => existsSync(path)));
}
