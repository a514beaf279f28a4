import type { DeviceRule } from '../../../intake/device-files.js';

/** How the two devices of a hand-in are told apart by their names. */
export const rules: readonly DeviceRule[] = [
  { name: 'deadbeef', words: /dead[-_ ]?beef/i },
  { name: 'ramdisk', words: /ram[-_ ]?(?:disk|disc|drive)/i },
];
