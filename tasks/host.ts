import { hostScale } from '../src/host/speed.js';
import { scaled, type Timeouts } from '../src/timeouts.js';

/** All deadlines, stretched to the speed of this host. */
export function hostTimeouts(): Timeouts {
  return scaled(hostScale());
}
