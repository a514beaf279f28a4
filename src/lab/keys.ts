import { join } from 'node:path';
import { type KeyPairFiles, loadOrMakeKeyPair } from '../guest/keys.js';
import { stateRoot } from '../host/paths.js';

/** The key with which this checkout logs in to all its guests; made at first use. */
export function clientKeys(): Promise<KeyPairFiles> {
  return loadOrMakeKeyPair(join(stateRoot(), 'keys'), 'client_key');
}
