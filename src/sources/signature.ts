import { Readable } from 'node:stream';
import type { ReadableStream as WebStream } from 'node:stream/web';
import type { PublicKey, VerifyMessageResult } from 'openpgp';
import { LabError } from '../errors.js';
import type { PinnedKey } from './releases.js';

/** Who signed, and when. */
export interface Signer {
  /** Of the primary key, 40 upper-case hex digits. */
  readonly fingerprint: string;
  readonly created: Date;
}

/** Key material (armored or binary, any number of keys) and the pins that say which of it counts. */
export interface Trust {
  readonly material: readonly Uint8Array[];
  readonly pins: readonly PinnedKey[];
}

/**
 * Checks a detached signature (armored or binary) over a stream, which is read to its end.
 *
 * One good signature by a pinned key is enough. A key must have been valid when it signed; that it has expired since
 * does not matter.
 *
 * @param what names the signed thing in errors.
 * @throws LabError `sources/signature`.
 */
export async function verifyDetached(
  data: Readable,
  signature: Uint8Array,
  trust: Trust,
  what: string,
): Promise<Signer> {
  const openpgp = await import('openpgp');
  const keys = await trustedKeys(trust, what);
  const parsed = await parseSignature(signature, what);
  const bytes = Readable.toWeb(data) as WebStream<Uint8Array>;
  const message = await openpgp.createMessage({ binary: bytes as never, format: 'binary' });
  const result = await openpgp.verify({
    message,
    signature: parsed,
    verificationKeys: keys,
    format: 'binary',
  });
  await drain(result.data as unknown as WebStream<Uint8Array>);
  return await oneGood(result.signatures, keys, what);
}

/**
 * The check runs on a copy of what passes here. openpgp redirects `getReader` of the stream to its own data, but not
 * its iterator.
 */
async function drain(data: WebStream<Uint8Array>): Promise<void> {
  const reader = data.getReader();
  while (!(await reader.read()).done);
}

/**
 * The sha256 of the file `name` in a clear-signed list of sums; text outside the signed part counts for nothing.
 *
 * @throws LabError `sources/signature`; `sources/not-listed` when the list is good but lacks the name.
 */
export async function digestFromSums(
  text: string,
  name: string,
  trust: Trust,
  what: string,
): Promise<string> {
  const openpgp = await import('openpgp');
  const keys = await trustedKeys(trust, what);
  const message = await openpgp.readCleartextMessage({ cleartextMessage: text }).catch((cause) => {
    throw bad(what, [`it is no clear-signed text: ${reasonOf(cause)}`], cause);
  });
  const result = await openpgp.verify({ message, verificationKeys: keys });
  await oneGood(result.signatures, keys, what);
  for (const line of result.data.split('\n')) {
    const [digest = '', file] = line.trim().split(/\s+\*?/);
    if (file === name && /^[0-9a-f]{64}$/i.test(digest)) return digest.toLowerCase();
  }
  throw new LabError({
    code: 'sources/not-listed',
    blame: 'host',
    fact: `${what} is signed as it should be, but does not list ${name}`,
    next: 'ask for a version that the publisher has',
  });
}

/** Fingerprints of the primary keys in key material; none when it holds no readable key. */
export async function fingerprintsIn(material: Uint8Array): Promise<string[]> {
  return (await readKeys(material)).map(fingerprintOf);
}

async function trustedKeys({ material, pins }: Trust, what: string): Promise<PublicKey[]> {
  const all = (await Promise.all(material.map(readKeys))).flat();
  const pinned = all.filter((key) => pins.some((pin) => pin.fingerprint === fingerprintOf(key)));
  if (pinned.length > 0) return pinned;
  const found = all.map((key) => `found:  ${fingerprintOf(key)}`);
  throw bad(what, [...pins.map((pin) => `wanted: ${pin.fingerprint} (${pin.owner})`), ...found], undefined);
}

async function readKeys(material: Uint8Array): Promise<PublicKey[]> {
  const openpgp = await import('openpgp');
  const text = Buffer.from(material).toString('latin1');
  const armored = text.includes('-----BEGIN PGP PUBLIC KEY BLOCK-----');
  const keys = armored
    ? openpgp.readKeys({ armoredKeys: text })
    : openpgp.readKeys({ binaryKeys: new Uint8Array(material) });
  return await keys.then((found) => found.map((key) => key.toPublic())).catch(() => []);
}

function fingerprintOf(key: PublicKey): string {
  return key.getFingerprint().toUpperCase();
}

async function parseSignature(signature: Uint8Array, what: string) {
  const openpgp = await import('openpgp');
  const text = Buffer.from(signature).toString('latin1');
  try {
    return text.includes('-----BEGIN PGP SIGNATURE-----')
      ? await openpgp.readSignature({ armoredSignature: text })
      : await openpgp.readSignature({ binarySignature: new Uint8Array(signature) });
  } catch (cause) {
    throw bad(what, [`the signature cannot be read: ${reasonOf(cause)}`], cause);
  }
}

async function oneGood(
  results: readonly VerifyMessageResult['signatures'][number][],
  keys: readonly PublicKey[],
  what: string,
): Promise<Signer> {
  const evidence: string[] = keys.map((key) => `pinned key: ${fingerprintOf(key)}`);
  if (results.length === 0) evidence.push('there is no signature');
  let first: unknown;
  for (const { keyID, verified, signature } of results) {
    try {
      await verified;
      const key = keys.find((candidate) => candidate.getKeys(keyID).length > 0);
      const created = (await signature).packets[0]?.created;
      if (key !== undefined && created != null) return { fingerprint: fingerprintOf(key), created };
      evidence.push(`signature by key ${keyID.toHex()}: not by a pinned key`);
    } catch (cause) {
      first ??= cause;
      evidence.push(`signature by key ${keyID.toHex()}: ${reasonOf(cause)}`);
    }
  }
  throw bad(what, evidence, first);
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause);
}

function bad(what: string, evidence: readonly string[], cause: unknown): LabError {
  return new LabError({
    code: 'sources/signature',
    blame: 'host',
    fact: `the signature of ${what} does not hold; it is not used`,
    evidence,
    next: 'try again later; if it stays, use another mirror or a source tree that you trust',
    cause,
  });
}
