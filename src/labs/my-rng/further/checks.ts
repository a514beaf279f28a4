import type { Check } from '../../../lab/check.js';
import { baseChecks } from './checks/base.js';
import { hwrngChecks } from './checks/hwrng.js';
import { interruptChecks } from './checks/interrupts.js';
import { lifeChecks } from './checks/life.js';
import { pathChecks } from './checks/paths.js';
import { unplugChecks } from './checks/unplug.js';
import { userChecks } from './checks/users.js';

/** All checks of the variant `further`. Each leaves the driver my_rng_pci loaded and every device in its place. */
export const furtherChecks: readonly Check[] = [
  ...baseChecks,
  ...pathChecks,
  ...interruptChecks,
  ...userChecks,
  ...hwrngChecks,
  ...unplugChecks,
  ...lifeChecks,
];
