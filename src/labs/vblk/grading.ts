import { runStep } from '../../events.js';
import type { Grading, LineSpec } from '../../grade/grading.js';
import { ownDigest } from '../../grade/own-digest.js';
import { digestJson } from '../../host/store.js';
import { takeInDevices } from '../../intake/take-in-devices.js';
import { type Origin, prepare, prepareStepsFor } from '../../lab/prepare.js';
import { requireSandbox } from '../../sandbox/probe.js';
import { judgeDevices } from './grading/judge.js';
import { rules } from './grading/rules.js';
import { lab } from './lab.js';

/** The exercise names no marks; these are a proposal. */
const lines: readonly LineSpec[] = [
  { id: 'loads', title: 'the files load, and say a size that can be served', max: 1 },
  { id: 'deadbeef', title: 'deadbeef: 4 MiB of DE AD BE EF in blocks of 1024 bytes, without writes', max: 3 },
  { id: 'ramdisk', title: 'ramdisk: keeps what is written, nothing else changes', max: 4 },
  { id: 'robust', title: 'odd sizes, many requests at once, and requests that fail', max: 2 },
];

export const grading: Grading = {
  ...{ lab, lines, golden: 'examples' },
  steps: (options) => ({ sandbox: SANDBOX, ...prepareStepsFor(options) }),
  open: async (options, context, timeouts) => {
    await runStep(context, 'sandbox', SANDBOX, async ({ signal }) => ({
      value: await requireSandbox({ signal, timeouts }),
    }));
    const { sources, qemu, linux, image } = await prepare(options, context, timeouts);
    const made = [qemu, linux, image].map(({ digest }) => digest);
    return {
      sources: {
        qemu: usedOf(qemu, sources.qemu),
        linux: usedOf(linux, sources.linux),
        guest: `${image.distro} ${image.version}`,
      },
      trees: {},
      takeIn: (path, where) => takeInDevices(path, { ...where, rules }),
      digest: digestJson({ made, own: await ownDigest() }),
      judge: (submission, run) => judgeDevices(submission, lines, { qemuImg: qemu.img }, run),
    };
  },
};

const SANDBOX = 'Sandbox';

/** Any version will do: nothing of a hand-in depends on it. */
function usedOf({ version }: { readonly version: string }, { detail, digest }: Origin) {
  return { wanted: version, used: version, origin: detail, digest };
}
