import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { chmod, link, mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError } from '../errors.js';

/** An ed25519 key pair in the formats of OpenSSH. */
export interface KeyPair {
  /** PEM text of an unencrypted `OPENSSH PRIVATE KEY`, ending in a newline. */
  readonly privateKey: string;
  /** One line, no newline: `ssh-ed25519 <base64> <comment>`. */
  readonly publicKey: string;
  /** `SHA256:<base64 without padding>`, as ssh-keygen -l prints it. */
  readonly fingerprint: string;
}

/** A key pair that is kept in files: the private key in `path`, the public one in `path` + `.pub`. */
export interface KeyPairFiles extends KeyPair {
  readonly path: string;
}

const TYPE = 'ssh-ed25519';
const MAGIC = 'openssh-key-v1\0';

/** A new random key pair. The comment is one line without control characters. */
export function makeKeyPair(comment: string): KeyPair {
  const jwk = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const seed = Buffer.from(jwk.d ?? '', 'base64url');
  const point = Buffer.from(jwk.x ?? '', 'base64url');
  const blob = Buffer.concat([field(TYPE), field(point)]);
  return pairOf(encodePrivate(seed, point, blob, comment), blob, comment);
}

/**
 * The key pair kept in `dir/name` and `dir/name.pub`; made at the first call.
 *
 * The private file has mode 0600 and appears whole or not at all; of several concurrent callers, in one process or in
 * many, one makes the pair and all get it.
 *
 * @throws LabError `guest/key` when the file is there and holds no unencrypted ed25519 key.
 */
export async function loadOrMakeKeyPair(dir: string, name: string): Promise<KeyPairFiles> {
  const path = join(dir, name);
  await mkdir(dir, { recursive: true });
  const text = (await readIfThere(path)) ?? (await publish(path, makeKeyPair(name).privateKey));
  const pair = decodePrivate(path, text);
  await chmod(path, 0o600);
  if ((await readIfThere(`${path}.pub`)) !== `${pair.publicKey}\n`) {
    await replace(`${path}.pub`, `${pair.publicKey}\n`);
  }
  return { ...pair, path };
}

/**
 * The binary form of a public key line, as it crosses the wire.
 *
 * @throws LabError `guest/key` when the line is no `ssh-ed25519` public key.
 */
export function publicBlob(line: string): Buffer {
  const [type, base64] = line.trim().split(/\s+/);
  const blob = Buffer.from(base64 ?? '', 'base64');
  if (type !== TYPE || blob.length !== 51) throw badKey('a public key', `${line.slice(0, 60)}…`);
  return blob;
}

/** `SHA256:…` of a public key in its binary form. */
export function fingerprintOf(blob: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

function pairOf(privateKey: string, blob: Buffer, comment: string): KeyPair {
  const publicKey = `${TYPE} ${blob.toString('base64')} ${comment}`.trimEnd();
  return { privateKey, publicKey, fingerprint: fingerprintOf(blob) };
}

/** The layout is that of PROTOCOL.key in OpenSSH, with cipher and key derivation `none`. */
function encodePrivate(seed: Buffer, point: Buffer, blob: Buffer, comment: string): string {
  const check = randomBytes(4);
  const secret = Buffer.concat([
    check,
    check,
    field(TYPE),
    field(point),
    field(Buffer.concat([seed, point])),
    field(comment),
  ]);
  const padding = Buffer.from(Array.from({ length: (8 - (secret.length % 8)) % 8 }, (_, i) => i + 1));
  const one = Buffer.from([0, 0, 0, 1]);
  const body = Buffer.concat([
    Buffer.from(MAGIC),
    field('none'),
    field('none'),
    field(''),
    one,
    field(blob),
    field(Buffer.concat([secret, padding])),
  ]);
  const lines = body.toString('base64').replace(/.{70}(?!$)/g, '$&\n');
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines}\n-----END OPENSSH PRIVATE KEY-----\n`;
}

function decodePrivate(path: string, text: string): KeyPair {
  const base64 = /^-----BEGIN OPENSSH PRIVATE KEY-----\n([^-]+)-----END OPENSSH PRIVATE KEY-----\n?$/.exec(
    text,
  )?.[1];
  const body = Buffer.from(base64 ?? '', 'base64');
  try {
    if (body.toString('latin1', 0, MAGIC.length) !== MAGIC) throw new Error('not in the format of OpenSSH');
    const outer = fields(body, MAGIC.length);
    if (outer.text() !== 'none') throw new Error('encrypted');
    outer.next();
    outer.next();
    outer.skip(4);
    const blob = outer.next();
    const inner = fields(outer.next(), 8);
    if (inner.text() !== TYPE) throw new Error(`not of type ${TYPE}`);
    inner.next();
    inner.next();
    return pairOf(text, Buffer.from(blob), inner.text());
  } catch (cause) {
    throw badKey(path, cause instanceof Error ? cause.message : String(cause));
  }
}

/** A length-prefixed string of the SSH protocol (RFC 4251, section 5). */
function field(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value as string);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function fields(bytes: Buffer, start: number) {
  let at = start;
  const next = () => {
    const length = bytes.readUInt32BE(at);
    const value = bytes.subarray(at + 4, at + 4 + length);
    if (value.length !== length) throw new Error('cut short');
    at += 4 + length;
    return value;
  };
  const skip = (count: number) => {
    at += count;
  };
  return { next, text: () => next().toString('utf8'), skip };
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Links a finished file into place; whoever comes second reads the first one's. */
async function publish(path: string, text: string): Promise<string> {
  const aside = `${path}.${randomBytes(4).toString('hex')}.part`;
  const handle = await open(aside, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
    await link(aside, path);
    return text;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return await readFile(path, 'utf8');
  } finally {
    await handle.close();
    await rm(aside, { force: true });
  }
}

async function replace(path: string, text: string): Promise<void> {
  const aside = `${path}.${randomBytes(4).toString('hex')}.part`;
  await writeFile(aside, text, { mode: 0o644 });
  await rename(aside, path);
}

function badKey(what: string, why: string): LabError {
  return new LabError({
    code: 'guest/key',
    blame: 'host',
    fact: `${what} is no usable ${TYPE} key`,
    evidence: [why],
    next: 'remove the file, and a new key pair will be made',
  });
}
