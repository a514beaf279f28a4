import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import type { ModuleCandidate } from './module-candidates.js';
import type { ModuleFiles } from './module-files.js';
import { isAsAsked, KEPT, kbuildAround, kbuildOf } from './module-makefile.js';
import { builtName, type ModuleRule, moduleName } from './module-rules.js';
import type { LooseModule } from './submission.js';

export interface StagedModule {
  readonly module: LooseModule;
  readonly changes: readonly string[];
}

/**
 * Copies the sources of a hand-in to the folder `dir`, so that makefiles and includes find what they name, with a
 * makefile in the module's folder that makes this module alone.
 */
export async function stageModule(
  rule: ModuleRule,
  candidate: ModuleCandidate,
  all: ModuleFiles,
  dir: string,
): Promise<StagedModule> {
  const texts = new Map<string, string>();
  for (const { name, text } of [...all.headers, ...all.helpers, ...all.sources, ...all.makefiles])
    texts.set(plainPath(name), text);
  const folder = plainPath(candidate.folder);
  const changes = setMakefile(rule, candidate, folder, texts);
  for (const [path, text] of texts) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), text, 'latin1');
  }
  const hadMakefile = candidate.makefile !== undefined;
  return {
    module: { dir, files: [...texts.keys()].sort(), hadMakefile, folder, origin: candidate.name },
    changes,
  };
}

/** make and kbuild cannot do with blanks and the like in names. */
function plainPath(name: string): string {
  const parts = name.split('/').filter((part) => part !== '.' && part !== '');
  return parts.map((part) => part.replace(/[^\w.+-]/g, '_')).join('/');
}

function setMakefile(
  rule: ModuleRule,
  candidate: ModuleCandidate,
  folder: string,
  texts: Map<string, string>,
): string[] {
  const { makefile, stem } = candidate;
  const kbuild = posix.join(folder, 'Kbuild');
  if (makefile === undefined) return [withoutMakefile(rule, candidate, kbuild, texts)];
  // one that names no module fails, and that is for its author to read
  if (stem === undefined || isAsAsked(makefile, rule)) return [];
  const own = plainPath(makefile.file.name);
  const kept = own === kbuild ? KEPT : posix.basename(own);
  texts.set(posix.join(folder, kept), makefile.file.text);
  texts.set(kbuild, kbuildAround(rule, stem, kept));
  const name = builtName(rule);
  const same = moduleName(stem) === name;
  return [
    same
      ? `of what ${makefile.file.name} makes, ${stem}.ko was built by itself`
      : `${makefile.file.name} makes ${stem}.ko; it was built as ${name}.ko, the name that is used here`,
  ];
}

function withoutMakefile(
  rule: ModuleRule,
  { sources, name }: ModuleCandidate,
  kbuild: string,
  texts: Map<string, string>,
): string {
  const stems = sources.map((source) => posix.basename(plainPath(source.name)).replace(/\.[cS]$/i, ''));
  const [first = ''] = stems;
  if (stems.length > 1 && moduleName(first) === builtName(rule)) {
    // a module of several objects cannot have one of its own name
    const path = plainPath(sources[0]?.name ?? '');
    texts.set(posix.join(posix.dirname(path), `${first}_main.c`), texts.get(path) ?? '');
    texts.delete(path);
    stems[0] = `${first}_main`;
  }
  texts.set(kbuild, kbuildOf(rule, stems));
  return `${name} came without a makefile; one was added that makes ${builtName(rule)}.ko`;
}
