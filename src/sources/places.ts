import type { Release } from './releases.js';
import type { Origin, SourceRequest } from './source.js';

export interface Place {
  readonly kind: 'upstream' | 'mirror';
  /** URL or path, without a slash at its end. */
  readonly folder: string;
}

/** Where a release may be had under its publisher's file names, in the order in which they are tried. */
export function places(request: SourceRequest, release: Release): Place[] {
  const mirrors = (request.mirrors ?? []).map(
    (url) => ({ kind: 'mirror', folder: url.replace(/\/+$/, '') }) as const,
  );
  const all: Place[] = [{ kind: 'upstream', folder: release.folder }, ...mirrors];
  return all.filter(({ kind }) => mayUse(request, kind));
}

export function mayUse({ only }: SourceRequest, kind: Origin['kind']): boolean {
  return only === undefined || only.includes(kind);
}

/** True when reaching it needs the network. */
export function isRemote(folder: string): boolean {
  return /^https?:/i.test(folder);
}
