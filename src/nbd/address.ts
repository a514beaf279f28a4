import { isIP } from 'node:net';
import { LabError } from '../errors.js';

/** Where a server listens: a unix socket, or TCP. Port 0 lets the system choose. */
export type Address =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

/** The kernel's limit for the path of a unix socket, without its closing zero. */
const LONGEST_PATH = 107;

/**
 * Reads `unix:PATH`, a path with a slash in it, `HOST:PORT`, `[IPv6]:PORT`, or a port of the loopback.
 *
 * @throws LabError `nbd/address`.
 */
export function parseAddress(text: string): Address {
  const path = text.startsWith('unix:') ? text.slice(5) : text.includes('/') ? text : undefined;
  if (path !== undefined) {
    if (path === '' || Buffer.byteLength(path) > LONGEST_PATH)
      throw badAddress(text, `the path of a unix socket has 1 to ${LONGEST_PATH} bytes`);
    return { kind: 'unix', path };
  }
  const [, bracketed, name, digits] = /^(?:(?:\[([^\]]*)\]|([^:]*)):)?(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > 65535) throw badAddress(text, 'neither a path nor HOST:PORT');
  return { kind: 'tcp', host: bracketed ?? (name === undefined || name === '' ? '127.0.0.1' : name), port };
}

/** Whether only this host gets there. */
export function isLocal(address: Address): boolean {
  if (address.kind === 'unix' || address.host === 'localhost') return true;
  return isIP(address.host) === 4 ? address.host.startsWith('127.') : address.host === '::1';
}

/** The URI by which clients name an export, after the rules of the project nbd (doc/uri.md). */
export function exportUri(address: Address, name: string): string {
  if (address.kind === 'unix')
    return `nbd+unix:///${encodeURIComponent(name)}?socket=${encodeURI(address.path)}`;
  const host = isIP(address.host) === 6 ? `[${address.host}]` : address.host;
  return `nbd://${host}:${address.port}/${encodeURIComponent(name)}`;
}

function badAddress(text: string, why: string): LabError {
  return new LabError({
    code: 'nbd/address',
    blame: 'user',
    fact: `${text} is not an address to listen at`,
    evidence: [why],
    next: 'give unix:/path/of/socket, or 127.0.0.1:10809',
  });
}
