import { moduleGrading } from '../../grade/module-grading.js';
import { kernelModulesChecks } from './checks.js';
import { lab } from './lab.js';

/** The exercise names no marks; these are a proposal. */
export const grading = moduleGrading({
  lab,
  lines: [
    { id: 'builds', title: 'the modules build', max: 1, modules: ['hello', 'ioctl_test'] },
    { id: 'hello', title: 'hello logs when it is loaded and unloaded', max: 1, modules: ['hello'] },
    {
      id: 'ioctl-test',
      title: 'ioctl_test: the file in /proc, its ioctl, and safety against bad calls',
      max: 2,
      modules: ['ioctl_test'],
      pointers: true,
    },
  ],
  rules: {
    modules: [
      { name: 'hello', marks: [/Hello,? world/i, /Unloading module/i] },
      { name: 'ioctl_test', marks: [/\bproc_create\w*\s*\(/, /\bIOCTL_TEST\b/, /"ioctl_test"/] },
    ],
    program: { marks: [/\/proc\/ioctl_test/, /\bioctl\s*\(/, /\/dev\/input|\/dev\/\w*key/i] },
  },
  checks: kernelModulesChecks,
  golden: 'folders',
});
