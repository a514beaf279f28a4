import type { NormalPatch } from './normalise.js';
import type { Project } from './submission.js';

/** Something of which a hand-in may hold several: patches for one tree, versions of one source. */
export interface Candidate {
  readonly name: string;
  /** Files that it touches, for patches. */
  readonly paths: readonly string[];
}

/** What there is a choice of, for messages, and which paths a complete one has: the first, and any of the others. */
export interface Wanted {
  readonly title: string;
  readonly source?: string;
  readonly buildFiles?: readonly string[];
}

export interface Chosen<T> {
  readonly chosen: readonly T[];
  /** Why, in a sentence, when there was something to choose from. */
  readonly why?: string;
}

const GUIDED = /guided|basic|simple|minimal|base\b|part[-_ ]?(1|one|i\b)|\bp1\b|task[-_ ]?1|mandatory|v1\b/i;
const ENHANCED =
  /enhanc|bonus|extra|advanced|improv|extend|part[-_ ]?(2|two|ii)|\bp2\b|task[-_ ]?2|optional|v2\b|\b(old|backup|copy)\b/i;

/**
 * The guided part when the name of one says so or that of the others says that they are not; then what holds both the
 * source and its build files; patches of different files belong together; then the first by name.
 */
export function chooseOne<T extends Candidate>(candidates: readonly T[], wanted: Wanted): Chosen<T> {
  if (candidates.length < 2) return { chosen: candidates };
  const names = candidates.map(({ name }) => name).sort();
  const say = (why: string, chosen: readonly T[]): Chosen<T> => ({
    chosen,
    why: `of ${names.join(', ')} for ${wanted.title}, ${chosen.map(({ name }) => name).join(' and ')} was graded: ${why}`,
  });
  const guided = candidates.filter(({ name }) => GUIDED.test(name) && !ENHANCED.test(name));
  if (guided.length === 1) return say('its name says that it is the guided part', guided);
  const pool = guided.length > 1 ? guided : candidates.filter(({ name }) => !ENHANCED.test(name));
  const rest = pool.length > 0 ? pool : candidates;
  if (rest.length === 1) return say('the names of the others say that they are not the guided part', rest);
  const whole = rest.filter((candidate) => isWhole(candidate, wanted));
  if (whole.length === 1) return say('it holds both the source and its build files', whole);
  if (whole.length === 0 && areDisjoint(rest))
    return say('they change different files and were taken together', rest);
  const sorted = [...(whole.length > 0 ? whole : rest)].sort((a, b) => (a.name < b.name ? -1 : 1));
  return say('it is the first by name', sorted.slice(0, 1));
}

function isWhole({ paths }: Candidate, { source, buildFiles = [] }: Wanted): boolean {
  return source !== undefined && paths.includes(source) && buildFiles.some((path) => paths.includes(path));
}

function areDisjoint(candidates: readonly Candidate[]): boolean {
  const all = candidates.flatMap(({ paths }) => [...new Set(paths)]);
  return new Set(all).size === all.length;
}

/** A series of mails in files of their own counts as one patch. */
export function joinSeries(patches: readonly NormalPatch[], project: Project): NormalPatch[] {
  const own = patches.filter(({ sections }) => sections[project].length > 0);
  const series = new Map<string, NormalPatch[]>();
  for (const patch of own) {
    const folder = patch.name.slice(0, patch.name.lastIndexOf('/') + 1);
    const isMail = patch.mail !== undefined && patch.mail.of > 1;
    const key = isMail ? `${folder}\0${patch.mail?.of}` : `\0${patch.name}`;
    const known = series.get(key);
    const taken = known?.some(({ mail }) => mail?.number === patch.mail?.number);
    if (known === undefined || taken) series.set(taken ? `\0${patch.name}` : key, [patch]);
    else known.push(patch);
  }
  return [...series.values()].map(joined);
}

function joined(patches: readonly NormalPatch[]): NormalPatch {
  const sorted = [...patches].sort((a, b) => (a.mail?.number ?? 0) - (b.mail?.number ?? 0));
  const [first] = sorted;
  if (first === undefined || sorted.length === 1) return first as NormalPatch;
  const name = sorted.map((patch) => patch.name).join(', ');
  return {
    ...first,
    name,
    sections: {
      qemu: sorted.flatMap(({ sections }) => sections.qemu),
      linux: sorted.flatMap(({ sections }) => sections.linux),
    },
    damage: sorted.flatMap(({ damage }) => damage),
    changes: [
      ...sorted.flatMap(({ changes }) => changes),
      `${name} are a series of mails and were taken in order`,
    ],
  };
}
