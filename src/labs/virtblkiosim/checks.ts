import { kernelLogCheck } from '../../lab/kernel-log-check.js';
import type { LineCheck, ModuleSetup } from '../../lab/module-checks.js';
import { extraChecks } from './checks/extras.js';
import { ioctlChecks } from './checks/ioctl.js';
import { loadChecks } from './checks/loads.js';
import { safetyChecks } from './checks/safety.js';
import { storageChecks } from './checks/storage.js';
import { unloadChecks } from './checks/unload.js';

/**
 * All checks of the exercise; `lab test` runs them on our module, the grading on that of a student. Those of the line
 * `extras` are about what only our own module and tool promise.
 *
 * @param rounds how often the module is loaded and unloaded in a row
 */
export function virtblkiosimChecks(setup: ModuleSetup, rounds = 100): LineCheck[] {
  return [
    ...loadChecks(setup),
    ...storageChecks(setup),
    kernelLogCheck('storage', 'storage'),
    ...ioctlChecks(setup),
    kernelLogCheck('ioctl', 'ioctl'),
    ...safetyChecks(setup),
    kernelLogCheck('safety', 'safety'),
    ...unloadChecks(setup, rounds),
    kernelLogCheck('unload', 'unload'),
    ...extraChecks(setup),
  ];
}
