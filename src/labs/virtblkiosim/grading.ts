import { moduleGrading } from '../../grade/module-grading.js';
import { virtblkiosimChecks } from './checks.js';
import { lab } from './lab.js';

const modules = ['virtblkiosim'];

/** A quarter of what the exercise says, to save time: what each of them loses still adds up to more than the noise. */
const ROUNDS = 25;

/** The exercise names no marks; these are a proposal. */
export const grading = moduleGrading({
  lab,
  lines: [
    { id: 'builds', title: 'the module builds', max: 1, modules },
    { id: 'loads', title: 'it loads, and the guest shows what the exercise asks for', max: 2, modules },
    {
      id: 'storage',
      title: 'what is written to the disk is read back, everywhere and by anybody',
      max: 3,
      modules,
    },
    { id: 'ioctl', title: 'the four ioctls do what they should and are logged', max: 3, modules },
    {
      id: 'safety',
      title: 'bad addresses, other users and requests out of range do no harm',
      max: 2,
      modules,
      pointers: true,
    },
    { id: 'unload', title: 'it can be removed and leaves nothing behind', max: 1, modules },
  ],
  rules: {
    modules: [
      {
        name: 'virtblkiosim',
        marks: [
          /\b(?:device_)?add_disk\s*\(/,
          /\bregister_blkdev\s*\(/,
          /\bblk_mq_ops\b|\bsubmit_bio\b/,
          /"virtblkiosim"/,
        ],
      },
    ],
    program: { name: 'submitted', marks: [/virtblkiosim/, /\bioctl\s*\(/] },
  },
  checks: (setup) => virtblkiosimChecks(setup, ROUNDS),
  golden: 'folder',
});
