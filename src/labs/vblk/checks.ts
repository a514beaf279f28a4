import type { Check } from '../../lab/check.js';
import { kernelLogCheck } from '../../lab/kernel-log-check.js';
import { connectionChecks } from './checks/connection.js';
import { deadbeefChecks } from './checks/deadbeef.js';
import { diskChecks } from './checks/disk.js';
import { faultChecks } from './checks/faults.js';
import { ramdiskChecks } from './checks/ramdisk.js';
import type { VblkSetup } from './devices.js';

/** All checks, in the order in which they run; `lab test` runs them on the two examples. */
export function vblkChecks(setup: VblkSetup): readonly Check[] {
  return [
    ...deadbeefChecks(setup),
    ...ramdiskChecks(setup),
    ...connectionChecks(setup),
    ...faultChecks(setup),
    ...diskChecks(setup),
    kernelLogCheck('vblk', 'vblk'),
  ];
}
