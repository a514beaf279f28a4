import { closeDeadNetworks } from '../src/lab/network.js';
import { hostTimeouts } from './host.js';

/** Undoes what machines have left of their networks that died unseen. What takes more rights is said, no more. */
export async function tidyNetworks(): Promise<void> {
  for (const error of await closeDeadNetworks(hostTimeouts())) {
    process.stderr.write(`${error.format()}\n\n`);
  }
}
