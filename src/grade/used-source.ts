import type { ResolvedSource } from '../sources/source.js';
import type { UsedSource } from './grade-report.js';

/** What a report says about a source tree. */
export function usedSource({ wanted, version, origin, digest }: ResolvedSource): UsedSource {
  return { wanted, used: version, origin: `${origin.kind}: ${origin.detail}`, digest };
}
