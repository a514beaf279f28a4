import {
  createCleartextMessage,
  createMessage,
  generateKey,
  type PrivateKey,
  readPrivateKey,
  sign,
} from 'openpgp';
import type { PinnedKey } from '../../src/sources/releases.js';

export interface TestKey {
  readonly fingerprint: string;
  /** Armored public key. */
  readonly material: Buffer;
  pin(...urls: string[]): PinnedKey;
  /** Detached signature. */
  sign(data: Buffer, options?: { armored?: boolean; date?: Date }): Promise<Buffer>;
  clearsign(text: string): Promise<string>;
}

/** A fresh signing key. */
export async function makeKey(
  name = 'Test',
  options: { date?: Date; lifetime?: number } = {},
): Promise<TestKey> {
  const { privateKey, publicKey } = await generateKey({
    userIDs: [{ name, email: `${name.toLowerCase()}@example.org` }],
    ...(options.date === undefined ? {} : { date: options.date }),
    ...(options.lifetime === undefined ? {} : { keyExpirationTime: options.lifetime }),
  });
  const secret: PrivateKey = await readPrivateKey({ armoredKey: privateKey });
  const fingerprint = secret.getFingerprint().toUpperCase();
  return {
    fingerprint,
    material: Buffer.from(publicKey),
    pin: (...urls) => ({ owner: name, fingerprint, urls }),
    sign: async (data, { armored = true, date } = {}) => {
      const message = await createMessage({ binary: new Uint8Array(data) });
      const base = {
        message,
        signingKeys: secret,
        detached: true,
        ...(date === undefined ? {} : { date }),
      } as const;
      if (armored) return Buffer.from(await sign({ ...base, format: 'armored' }));
      return Buffer.from(await sign({ ...base, format: 'binary' }));
    },
    clearsign: async (text) => sign({ message: await createCleartextMessage({ text }), signingKeys: secret }),
  };
}
