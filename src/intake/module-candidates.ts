import { posix } from 'node:path';
import { chooseOne } from './choose.js';
import type { ModuleFiles } from './module-files.js';
import { isModuleMakefile, type ModuleMakefile, readMakefile } from './module-makefile.js';
import { builtName, type ModuleRule, moduleName } from './module-rules.js';
import type { Recognised } from './recognise.js';
import { withoutComments } from './text.js';

/** What may be one of the modules of a hand-in. */
export interface ModuleCandidate {
  /** Names of its sources within the hand-in. */
  readonly name: string;
  /** Folder within the hand-in in which it is built. */
  readonly folder: string;
  /** Object without `.o`, relative to the folder; undefined when the makefile does not say. */
  readonly stem?: string;
  readonly makefile?: ModuleMakefile;
  /** Its C sources; the first of a module without a makefile has the init function. */
  readonly sources: readonly Recognised[];
}

/** Every module that the sources and makefiles of a hand-in may make. */
export function moduleCandidates(files: ModuleFiles): ModuleCandidate[] {
  const makefiles = kbuildFiles(files.makefiles);
  const fromMakefiles = makefiles.flatMap((makefile) => candidatesOf(makefile, files));
  const taken = new Set(fromMakefiles.flatMap(({ sources }) => sources));
  const folders = new Set(makefiles.map(({ file }) => posix.dirname(file.name)));
  const alone = files.sources.filter(
    (source) => !taken.has(source) && !folders.has(posix.dirname(source.name)),
  );
  return [...fromMakefiles, ...alone.map((source) => aloneCandidate(source, files))];
}

/** One per folder, as kbuild chooses: Kbuild before Makefile. */
function kbuildFiles(makefiles: readonly Recognised[]): ModuleMakefile[] {
  const byFolder = new Map<string, Recognised>();
  for (const file of makefiles.filter(isModuleMakefile)) {
    const folder = posix.dirname(file.name);
    const before = byFolder.get(folder);
    if (before === undefined || posix.basename(file.name) === 'Kbuild') byFolder.set(folder, file);
  }
  return [...byFolder.values()].map(readMakefile);
}

function candidatesOf(makefile: ModuleMakefile, { sources, helpers }: ModuleFiles): ModuleCandidate[] {
  const folder = posix.dirname(makefile.file.name);
  const all = [...sources, ...helpers];
  // a module that came built only
  if (!all.some(({ name }) => folder === '.' || name.startsWith(`${folder}/`))) return [];
  const find = (stem: string) => all.find(({ name }) => name === posix.join(folder, `${stem}.c`));
  const known = makefile.stems.map((stem) => {
    const own = [stem, ...(makefile.parts.get(stem) ?? [])].map(find).filter((file) => file !== undefined);
    return { name: namesOf(own) || `${makefile.file.name}: ${stem}.o`, folder, stem, makefile, sources: own };
  });
  if (known.length > 0) return known;
  const beside = sources.filter(({ name }) => posix.dirname(name) === folder);
  return beside.length === 0 ? [] : [{ name: namesOf(beside), folder, makefile, sources: beside }];
}

/** Helpers belong to it when it includes the header of the same name. */
function aloneCandidate(source: Recognised, { helpers }: ModuleFiles): ModuleCandidate {
  const folder = posix.dirname(source.name);
  const own = helpers.filter(({ name }) => {
    const stem = posix.basename(name).replace(/\.[cS]$/, '');
    return posix.dirname(name) === folder && source.text.includes(`"${stem}.h"`);
  });
  const sources = [source, ...own];
  return { name: namesOf(sources), folder, stem: posix.basename(source.name).replace(/\.c$/i, ''), sources };
}

function namesOf(files: readonly Recognised[]): string {
  return files.map(({ name }) => name).join(', ');
}

/** Which candidate is which module of the exercise. */
export interface Assigned {
  readonly chosen: ReadonlyMap<string, ModuleCandidate>;
  readonly changes: readonly string[];
}

const BY_NAME = 100;

/** By the name of the object first, then by what its sources hold; the only one may be anything. */
export function assignModules(
  rules: readonly ModuleRule[],
  candidates: readonly ModuleCandidate[],
): Assigned {
  const chosen = new Map<string, ModuleCandidate>();
  const changes: string[] = [];
  const pairs = rules.flatMap((rule) =>
    candidates.map((candidate) => ({ rule, candidate, score: scoreOf(rule, candidate) })),
  );
  for (const { rule, score } of pairs.sort((a, b) => b.score - a.score)) {
    if (score === 0 || chosen.has(rule.name)) continue;
    const free = pairs.filter((pair) => pair.rule === rule && ![...chosen.values()].includes(pair.candidate));
    const best = Math.max(...free.map((pair) => pair.score));
    const equal = free.filter((pair) => pair.score === best && best > 0).map(({ candidate }) => candidate);
    const title = `the module ${rule.name}`;
    const picked = chooseOne(
      equal.map((candidate) => ({ ...candidate, paths: [title] })),
      { title },
    );
    if (picked.why !== undefined) changes.push(picked.why);
    const one = equal.find(({ name }) => name === picked.chosen[0]?.name);
    if (one !== undefined) chosen.set(rule.name, one);
  }
  const [only] = candidates;
  const [rule] = rules;
  if (
    chosen.size === 0 &&
    candidates.length === 1 &&
    rules.length === 1 &&
    only !== undefined &&
    rule !== undefined
  ) {
    chosen.set(rule.name, only);
    changes.push(`${only.name} was taken for the module ${rule.name}: it is the only one`);
  }
  const left = candidates.filter((candidate) => ![...chosen.values()].includes(candidate));
  changes.push(
    ...left.map(({ name }) => `${name} was left aside: it is none of the modules that were looked for`),
  );
  return { chosen, changes };
}

function scoreOf(rule: ModuleRule, { stem, sources }: ModuleCandidate): number {
  const own = stem === undefined ? '' : moduleName(posix.basename(stem));
  const named = own === rule.name || own === builtName(rule);
  const text = sources.map((source) => withoutComments(source.text)).join('\n');
  return (named ? BY_NAME : 0) + rule.marks.filter((mark) => mark.test(text)).length;
}
