import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join, posix, resolve } from 'node:path';
import { chooseOne } from './choose.js';
import { type Collected, collect } from './collect.js';
import { type Reading, readGuarded, type Surroundings } from './guarded.js';
import { assignModules, moduleCandidates } from './module-candidates.js';
import { type ModuleFiles, sortModuleFiles, sortText } from './module-files.js';
import { filesInPatch } from './module-patch.js';
import { type ModuleIntakeRules, moduleName } from './module-rules.js';
import { stageModule } from './module-stage.js';
import { idOf } from './names.js';
import { problem } from './problems.js';
import type { IntakeProblem, LooseFile, LooseModule, Submission } from './submission.js';
import { handIns, severalProblem } from './two-hand-ins.js';

/**
 * Reads a hand-in of loadable modules: sources with or without makefiles, or a patch that adds them, in a folder, an
 * archive or a single file. Nothing of it is executed; what a build left behind, modules included, is left out.
 *
 * Whatever is wrong with it becomes one of its `problems`.
 *
 * @throws LabError `intake/no-input` when there is nothing at `path`; `interrupted`; faults of the host.
 */
export async function takeInModules(
  path: string,
  options: Reading & { readonly rules: ModuleIntakeRules },
): Promise<Submission> {
  return await readGuarded(path, options, (surroundings) => read(path, surroundings, options));
}

async function read(
  path: string,
  { kind, scratch, signal }: Surroundings,
  { rules, into }: Reading & { readonly rules: ModuleIntakeRules },
): Promise<Submission> {
  const collected = await collect(path, kind, { scratch, isTreeFile: () => false, signal });
  const files = sortModuleFiles(collected.files);
  const changes = [...collected.changes];
  const problems = [...collected.problems, ...files.problems];
  const several = handIns([...files.patches, ...files.sources], (folder) =>
    rules.modules.some(({ name }) => moduleName(folder).includes(name)),
  );
  if (several.length > 1) problems.push(severalProblem(several));
  else unpackPatches(files, changes, problems);
  const modules = several.length > 1 ? {} : await takeModules(files, rules, into, changes);
  const application = await takeProgram(files, rules, join(into, 'application'), changes);
  if (Object.keys(modules).length === 0 && problems.length === 0) problems.push(nothingUsable(collected));
  const record = { input: path, digest: collected.digest, files: collected.listing };
  await writeFile(join(into, 'input.json'), `${JSON.stringify(record, undefined, 2)}\n`);
  const report = files.reports[0];
  return {
    ...{ id: idOf(basename(resolve(path))), input: path, digest: collected.digest, parts: {}, modules },
    ...{ changes: [...new Set(changes)], problems },
    ...(collected.newest === undefined ? {} : { handedIn: collected.newest }),
    ...(application === undefined ? {} : { application }),
    ...(report === undefined ? {} : { report }),
  };
}

/** What a patch adds takes the place of loose files of the same name. */
function unpackPatches(files: ModuleFiles, changes: string[], problems: IntakeProblem[]): void {
  for (const patch of files.patches) {
    const patched = filesInPatch(patch);
    changes.push(...patched.changes);
    problems.push(...patched.problems);
    for (const file of patched.files) {
      for (const list of [files.sources, files.programs, files.helpers, files.headers, files.makefiles]) {
        const at = list.findIndex(({ name }) => name === file.name);
        if (at !== -1) list.splice(at, 1);
      }
      sortText(file, files);
    }
  }
}

async function takeModules(
  files: ModuleFiles,
  rules: ModuleIntakeRules,
  into: string,
  changes: string[],
): Promise<Record<string, LooseModule>> {
  const assigned = assignModules(rules.modules, moduleCandidates(files));
  changes.push(...assigned.changes);
  const modules: Record<string, LooseModule> = {};
  for (const rule of rules.modules) {
    const candidate = assigned.chosen.get(rule.name);
    if (candidate === undefined) continue;
    const staged = await stageModule(rule, candidate, files, join(into, 'modules', rule.name));
    changes.push(...staged.changes);
    for (const { name, changes: done } of candidate.sources)
      changes.push(...done.map((what) => `${name}: ${what}`));
    modules[rule.name] = staged.module;
  }
  return modules;
}

async function takeProgram(
  { programs }: ModuleFiles,
  { program }: ModuleIntakeRules,
  dir: string,
  changes: string[],
): Promise<LooseFile | undefined> {
  const marked = programs.filter(({ text }) => program.marks.some((mark) => mark.test(text)));
  const title = 'the program';
  const { chosen, why } = chooseOne(
    marked.map((file) => ({ ...file, paths: [title] })),
    { title },
  );
  const [file] = chosen;
  if (file === undefined) return undefined;
  if (why !== undefined) changes.push(why);
  await mkdir(dir, { recursive: true });
  const path = join(dir, posix.basename(file.name).replace(/[^\w.+-]/g, '_'));
  await writeFile(path, file.text, 'latin1');
  return { path, origin: file.name };
}

function nothingUsable({ files, changes }: Collected): IntakeProblem {
  const next =
    'hand in the C sources of the modules with their makefiles; built modules (.ko) are never taken';
  if (files.length === 0)
    return problem('the hand-in holds no file that could be graded', next, { evidence: changes });
  const evidence = files.map(({ name }) => name).slice(0, 10);
  return problem('there is no source of a kernel module in the hand-in', next, { evidence });
}
