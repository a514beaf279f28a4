import type { Grading } from '../../grade/grading.js';
import { usedSource } from '../../grade/used-source.js';
import { takeIn } from '../../intake/take-in.js';
import { foundationSteps, layFoundation } from './grading/bench.js';
import { intakeRules } from './grading/intake-rules.js';
import { judgeSubmission } from './grading/judge.js';
import { lab } from './lab.js';

/** The marking scheme of the exercise and how each line of it is judged. */
export const grading: Grading = {
  lab,
  lines: [
    { id: 'device-patch-applies', title: 'QEMU patch applies without errors or warnings', max: 1 },
    {
      id: 'device-repeat-seed',
      title: 'device: seeding again with the same value gives the same sequence',
      max: 3,
    },
    {
      id: 'device-registers',
      title: 'device: read and write follow the register addresses and sizes',
      max: 2,
    },
    { id: 'driver-patch-applies', title: 'Linux patch applies without errors or warnings', max: 1 },
    {
      id: 'driver-repeat-seed',
      title: 'driver: seeding again with the same value gives the same sequence',
      max: 3,
    },
    {
      id: 'driver-safe-transfer',
      title: 'driver: data crosses between user and kernel space safely',
      max: 2,
    },
    { id: 'report', title: 'report says clearly what was enhanced and how to test it', max: 3, person: true },
    { id: 'enhancement', title: 'enhancements work; degree of ambition', max: 5, person: true },
  ],
  golden: 'git-diff',
  rules: intakeRules,
  steps: () => foundationSteps,
  open: async (options, context, timeouts) => {
    const foundation = await layFoundation(options, context, timeouts);
    const { sources, image } = foundation;
    const { qemu, linux } = sources;
    const trees = { qemu, linux };
    return {
      sources: {
        qemu: usedSource(qemu),
        linux: usedSource(linux),
        guest: `${image.distro} ${image.version}`,
      },
      trees: { qemu: qemu.tree, linux: linux.tree },
      takeIn: (path, where) => takeIn(path, { ...where, trees, lab: intakeRules }),
      digest: foundation.digest,
      judge: (submission, run) => judgeSubmission(submission, foundation, run),
    };
  },
};
