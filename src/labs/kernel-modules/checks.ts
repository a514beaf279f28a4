import { kernelLogCheck } from '../../lab/kernel-log-check.js';
import type { LineCheck, ModuleSetup } from '../../lab/module-checks.js';
import { extraChecks } from './checks/extras.js';
import { helloChecks } from './checks/hello.js';
import { ioctlChecks } from './checks/ioctl.js';
import { keyboardChecks } from './checks/keyboard.js';
import { keyboardSafetyChecks } from './checks/safety.js';

/** All checks of the exercise; `lab test` runs them on our modules, the grading on those of a student. */
export function kernelModulesChecks(setup: ModuleSetup): LineCheck[] {
  return [
    ...helloChecks(setup),
    kernelLogCheck('hello', 'hello'),
    ...ioctlChecks(setup),
    kernelLogCheck('ioctl-test', 'ioctl_test'),
    ...keyboardChecks(setup),
    ...keyboardSafetyChecks(setup),
    ...extraChecks(setup),
    kernelLogCheck('keyboard', 'keyboard'),
    kernelLogCheck('keyboard-safety', 'keyboard-unload'),
  ];
}
