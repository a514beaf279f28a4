import { closeDeadNetworks } from '../src/lab/network.js';
import { hostTimeouts } from './host.js';

/** Undoes what machines have left of their networks that died unseen. What takes more rights is said, no more. */
export async function tidyNetworks({
  except = [],
}: {
  readonly except?: readonly string[];
} = {}): Promise<void> {
  for (const error of await closeDeadNetworks(hostTimeouts(), except)) {
    process.stderr.write(`${error.format()}\n\n`);
  }
}
