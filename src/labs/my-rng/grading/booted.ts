import { bootTestChecks } from './booted-boot-test.js';
import { findingChecks } from './booted-find.js';
import { loadLineChecks, logChecks } from './booted-log.js';
import { sequenceChecks } from './booted-sequence.js';
import { type BootedCheck, type BootedFindings, type BootedSetup, newFindings } from './booted-setup.js';
import { transferChecks } from './booted-transfer.js';

/**
 * The checks of a submission's driver on one booted machine, in the order in which they are to run: what may end the
 * kernel comes last, so that all before it has been judged.
 *
 * Each belongs to a line of the marking scheme. Those that are not `charged` supply evidence only.
 *
 * @param findings filled on the way: the device found, the driver's further commands, and whether a pointer of user
 *   space was touched directly. They belong to one run on one machine.
 */
export function bootedChecks(
  setup: BootedSetup,
  findings: BootedFindings = newFindings(),
): readonly BootedCheck[] {
  return [
    ...bootTestChecks(setup, findings),
    ...findingChecks(setup, findings),
    ...loadLineChecks(setup, findings),
    ...sequenceChecks(setup, findings),
    ...transferChecks(setup, findings),
    ...logChecks(setup, findings),
  ];
}
