import { LabError } from '../errors.js';
import { type Project, pinnedVersions } from './releases.js';

export interface Origin {
  readonly kind: 'path' | 'upstream' | 'mirror' | 'debian';
  /** The path, the URL, or suite, package and version. */
  readonly detail: string;
}

/** A source tree on disk that may be built from. */
export interface ResolvedSource {
  readonly project: Project;
  /** As the tree itself says. */
  readonly version: string;
  /** The version that was asked for; the report says so when they differ. */
  readonly wanted: string;
  readonly origin: Origin;
  /** sha256, hex, of the archives or of the tree that this is. */
  readonly digest: string;
  /** The unpacked tree; treat it as read-only. */
  readonly tree: string;
  /** What was changed against the publisher's archive, e.g. Debian's patches. */
  readonly patched: readonly string[];
  /** True when this call fetched it. */
  readonly fresh: boolean;
}

export interface SourceRequest {
  readonly project: Project;
  /** Default: the pinned version. */
  readonly version?: string;
  /** A tree or tarball of the user's own; then nothing else is tried. */
  readonly path?: string;
  /** The very source that an earlier call gave, while the cache still holds it. */
  readonly digest?: string;
  /** URLs or paths of folders that hold release archives under their publishers' names. */
  readonly mirrors?: readonly string[];
  /** Use only what is on this host. */
  readonly offline?: boolean;
  /** Kinds of origin that may be used; default all. */
  readonly only?: readonly Origin['kind'][];
  /** Ask upstream and mirrors again even if they failed within the last day. */
  readonly refresh?: boolean;
}

/**
 * The version asked for, or the pinned one.
 *
 * @throws LabError `sources/bad-version`.
 */
export function wantedVersion({ project, version = pinnedVersions[project] }: SourceRequest): string {
  if (/^\d+\.\d+(\.\d+)*(-rc\d+)?$/.test(version)) return version;
  throw new LabError({
    code: 'sources/bad-version',
    blame: 'user',
    fact: `${version} is no version of ${titleOf(project)}`,
    next: `give it as ${pinnedVersions[project]}, or name a source tree by its path`,
  });
}

export function titleOf(project: Project): string {
  return { qemu: 'QEMU', linux: 'Linux' }[project];
}
