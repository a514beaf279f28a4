import type { Check } from '../../../lab/check.js';
import { pathChecks } from './checks/paths.js';

/** All checks of the variant `further`. */
export const furtherChecks: readonly Check[] = [...pathChecks];
