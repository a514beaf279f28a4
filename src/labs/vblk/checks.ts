import type { Check } from '../../lab/check.js';
import { deadbeefChecks } from './checks/deadbeef.js';

/** All checks, in the order in which they run. */
export const vblkChecks: readonly Check[] = [...deadbeefChecks];
