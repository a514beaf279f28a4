import { moduleGrading } from '../../grade/module-grading.js';
import { kernelModulesChecks } from './checks.js';
import { lab } from './lab.js';

/** The exercise names no marks; these are a proposal. */
export const grading = moduleGrading({
  lab,
  lines: [
    { id: 'builds', title: 'the modules build', max: 1, modules: ['hello', 'ioctl_test', 'keyboard'] },
    { id: 'hello', title: 'hello logs when it is loaded and unloaded', max: 1, modules: ['hello'] },
    {
      id: 'ioctl-test',
      title: 'ioctl_test: the file in /proc, its ioctl, and safety against bad calls',
      max: 2,
      modules: ['ioctl_test'],
      pointers: true,
    },
    {
      id: 'keyboard',
      title: 'keyboard: key presses by interrupt, all codes to every reader, which sleeps meanwhile',
      max: 4,
      modules: ['keyboard'],
    },
    {
      id: 'keyboard-safety',
      title: 'keyboard: others keep their keys, bad calls do no harm, it can be unloaded at any time',
      max: 2,
      modules: ['keyboard'],
      pointers: true,
    },
  ],
  rules: {
    modules: [
      { name: 'hello', marks: [/Hello,? world/i, /Unloading module/i] },
      { name: 'ioctl_test', marks: [/\bproc_create\w*\s*\(/, /\bIOCTL_TEST\b/, /"ioctl_test"/] },
      {
        name: 'keyboard',
        // kernels with virtual terminals have a part of the name keyboard, and refuse another
        builtAs: 'lab_keyboard',
        marks: [
          /\brequest_(?:threaded_)?irq\s*\(/,
          /\bin(?:b|b_p)\s*\(\s*0x60|\bi8042_/,
          /\bscan_?codes?\b/i,
        ],
      },
    ],
    program: { name: 'keyboard-reader', marks: [/\/dev\/\w*(?:key|kbd)/i, /\/proc\/\w*(?:key|kbd)/i] },
  },
  checks: kernelModulesChecks,
  golden: 'folders',
});
