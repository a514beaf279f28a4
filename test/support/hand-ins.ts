import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { listFixtures, makeHandIn, type PristineTrees } from '../../src/grade/fixture.js';
import { type PrepareOptions, sourceRequest } from '../../src/lab/prepare.js';
import { loadLab } from '../../src/lab/registry.js';
import { resolveSource } from '../../src/sources/resolve.js';
import { scaled } from '../../src/timeouts.js';
import { quietStep } from './quiet-step.js';

const timeouts = scaled(4);

/** Makes hand-ins of fixtures, named `good/git-diff`, in the folder `into`, against the sources that the lab uses here. */
export async function handInsOf(names: readonly string[], into: string): Promise<string[]> {
  const trees = await sources();
  const fixtures = await listFixtures('my-rng');
  const paths: string[] = [];
  for (const name of names) {
    const fixture = fixtures.find((item) => `${item.kind}/${item.name}` === name);
    if (fixture === undefined) throw new Error(`there is no fixture ${name}`);
    const dir = join(into, fixture.kind);
    await mkdir(dir, { recursive: true });
    const { signal } = new AbortController();
    paths.push(await makeHandIn(fixture, trees, dir, { signal, timeouts }));
  }
  return paths;
}

async function sources(): Promise<PristineTrees> {
  const lab = await loadLab('my-rng');
  const options: PrepareOptions = {
    ...{ lab, variant: 'module', qemu: {}, linux: {}, refresh: false },
    ...{ kernel: 'built', kernelConfig: 'lab', instrumentation: [], qemuSanitizers: false, guest: 'auto' },
    ...{ alpineMirrors: [], sourceMirrors: [], qemuPatches: [], linuxPatches: [] },
  };
  const tree = async (project: 'qemu' | 'linux') =>
    (await resolveSource(sourceRequest(project, options), { step: quietStep(), timeouts })).tree;
  return { qemu: await tree('qemu'), linux: await tree('linux') };
}
