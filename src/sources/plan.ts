import { isAbort, LabError } from '../errors.js';
import type { AptContext } from './apt.js';
import { debianCandidates } from './debian-source.js';
import { recentFailure, type StoredSource, storedSources } from './library.js';
import { isRemote, mayUse, places } from './places.js';
import { type Release, releaseOf } from './releases.js';
import { type Origin, type SourceRequest, wantedVersion } from './source.js';

/** One place that `resolveSource` would try. */
interface PlannedPlace {
  /** `system`: what is installed on this host is used as it is. */
  readonly kind: Origin['kind'] | 'system';
  readonly detail: string;
  /** Known before the download for all but a path. */
  readonly version: string | undefined;
  /** `cached` ends the search; `skipped` places are not asked, `remark` says why. */
  readonly state: 'cached' | 'to try' | 'skipped';
  readonly remark?: string;
}

export interface SourcePlan {
  readonly project: SourceRequest['project'];
  readonly wanted: string;
  /** In the order in which they are tried. */
  readonly places: readonly PlannedPlace[];
}

/**
 * What `resolveSource` would try for a request, in which order, and what is in the cache. Downloads no sources.
 *
 * @param context when given, Debian's indexes are searched, and fetched when they are older than a day; otherwise
 *   Debian is one entry without a version.
 * @throws LabError `sources/bad-version`, `interrupted`.
 */
export async function planSource(
  request: SourceRequest,
  context?: AptContext,
  release: Release = releaseOf(request.project, wantedVersion(request)),
): Promise<SourcePlan> {
  const { project, path } = request;
  const wanted = wantedVersion(request);
  const plan = (list: readonly PlannedPlace[]) => ({ project, wanted, places: list });
  if (path !== undefined) return plan([{ kind: 'path', detail: path, version: undefined, state: 'to try' }]);
  const stored = await storedSources(project);
  const list = [...exactPlaces(stored, request), ...(await publisherPlaces(request, release))];
  if (mayUse(request, 'debian')) list.push(...(await debianPlaces(request, stored, context)));
  return plan(list);
}

function exactPlaces(stored: readonly StoredSource[], request: SourceRequest): PlannedPlace[] {
  const wanted = wantedVersion(request);
  return stored
    .map(({ record }) => record)
    .filter(
      ({ origin }) => origin.kind !== 'path' && origin.kind !== 'debian' && mayUse(request, origin.kind),
    )
    .filter(({ version }) => version === wanted)
    .map(({ origin, version }) => ({ ...origin, version, state: 'cached' }));
}

async function publisherPlaces(request: SourceRequest, release: Release): Promise<PlannedPlace[]> {
  const { project, refresh, offline } = request;
  const wanted = wantedVersion(request);
  const list: PlannedPlace[] = [];
  for (const { kind, folder } of places(request, release)) {
    const detail = `${folder}/${release.archive}`;
    const recent = refresh === true ? undefined : await recentFailure({ project, wanted, folder });
    const closed = offline === true && isRemote(folder) ? 'only this host may be used' : undefined;
    const remark = recent === undefined ? closed : `failed within the last day: ${recent}`;
    const place = { kind, detail, version: release.version };
    list.push(remark === undefined ? { ...place, state: 'to try' } : { ...place, state: 'skipped', remark });
  }
  return list;
}

async function debianPlaces(
  request: SourceRequest,
  stored: readonly StoredSource[],
  context: AptContext | undefined,
): Promise<PlannedPlace[]> {
  const wanted = wantedVersion(request);
  const standIns = stored.filter(
    ({ record }) => record.origin.kind === 'debian' && record.answers.includes(wanted),
  );
  const list: PlannedPlace[] = standIns.map(({ record }) => ({
    ...record.origin,
    version: record.version,
    state: request.refresh === true ? 'to try' : 'cached',
  }));
  if (list.length > 0) return list;
  const open = {
    kind: 'debian',
    detail: 'source packages, by the apt settings of this host',
    version: undefined,
  } as const;
  if (request.offline === true) return [{ ...open, state: 'skipped', remark: 'only this host may be used' }];
  if (context === undefined) return [{ ...open, state: 'to try' }];
  return await candidatePlaces(request, wanted, context);
}

async function candidatePlaces(
  { project, refresh = false }: SourceRequest,
  wanted: string,
  context: AptContext,
): Promise<PlannedPlace[]> {
  const list: PlannedPlace[] = [];
  const skip = (detail: string, remark: string) =>
    list.push({ kind: 'debian', detail, version: undefined, state: 'skipped', remark });
  const search = { project, wanted, refresh, onMiss: (line: string) => void skip('index', line) };
  try {
    for await (const { suite, package: name, version, upstream } of debianCandidates(search, context)) {
      list.push({
        kind: 'debian',
        detail: `${suite}: ${name} ${version}`,
        version: upstream,
        state: 'to try',
      });
    }
  } catch (error) {
    if (isAbort(error) || !(error instanceof LabError)) throw error;
    skip('apt', error.message);
  }
  return list;
}
