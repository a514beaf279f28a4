import { runStep } from '../events.js';
import { digestJson } from '../host/store.js';
import { takeInModules } from '../intake/take-in-modules.js';
import { type Origin, type Prepared, prepare, prepareStepsFor } from '../lab/prepare.js';
import { requireSandbox } from '../sandbox/probe.js';
import type { UsedSource } from './grade-report.js';
import type { Grading } from './grading.js';
import { judgeModules } from './module-judge.js';
import type { ModuleLab } from './module-lab.js';
import { ownDigest } from './own-digest.js';

/** How hand-ins of a lab are graded that asks for loadable modules and needs no device of its own. */
export function moduleGrading(spec: ModuleLab): Grading {
  const { lab, lines, golden, rules } = spec;
  return {
    ...{ lab, lines, golden },
    steps: (options) => ({ sandbox: SANDBOX, ...prepareStepsFor(options) }),
    open: async (options, context, timeouts) => {
      await runStep(context, 'sandbox', SANDBOX, async ({ signal }) => ({
        value: await requireSandbox({ signal, timeouts }),
      }));
      const prepared = await prepare(options, context, timeouts);
      const { sources, qemu, linux, image } = prepared;
      return {
        sources: {
          qemu: usedOf(qemu, sources.qemu),
          linux: usedOf(linux, sources.linux),
          guest: `${image.distro} ${image.version}`,
        },
        trees: sources.linux.tree === undefined ? {} : { linux: sources.linux.tree },
        takeIn: (path, where) => takeInModules(path, { ...where, rules }),
        digest: await digestOf(prepared),
        judge: (submission, run) => judgeModules(submission, spec, prepared, run),
      };
    },
  };
}

const SANDBOX = 'Sandbox';

/** Any version will do that the lab can be prepared with; where it differs from the exercise's, its origin says so. */
function usedOf({ version }: { readonly version: string }, { detail, digest }: Origin): UsedSource {
  return { wanted: version, used: version, origin: detail, digest };
}

/** The checks themselves count as well. */
async function digestOf({ qemu, linux, image, programs }: Prepared): Promise<string> {
  const made = [qemu, linux, image, ...Object.values(programs)].map(({ digest }) => digest);
  return digestJson({ made, own: await ownDigest() });
}
