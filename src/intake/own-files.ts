import { mkdir, writeFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { chooseOne } from './choose.js';
import { headersOf } from './loose.js';
import type { Recognised, Sorted } from './recognise.js';
import type { IntakeRules } from './rules.js';
import type { LooseFile, LooseModule } from './submission.js';

/** What was chosen, and sentences about the choice. */
export interface Told<T> {
  readonly value?: T;
  readonly changes: readonly string[];
}

/** Copies an out-of-tree module: with its makefile all sources beside that, without one a lone driver. */
export async function takeModule(
  drivers: readonly Recognised[],
  sorted: Sorted,
  rules: IntakeRules,
  dir: string,
): Promise<Told<LooseModule>> {
  const withSources = sorted.moduleMakefiles.filter((makefile) => besides(makefile, drivers).length > 0);
  const folders = [...new Map(withSources.map((file) => [posix.dirname(file.name), file])).values()];
  const title = 'the loadable module';
  const picked = chooseOne(
    folders.map((file) => ({ ...file, paths: [title] })),
    { title },
  );
  const makefile = picked.chosen[0];
  if (makefile !== undefined) {
    const makefiles = sorted.moduleMakefiles.filter(
      (file) => posix.dirname(file.name) === posix.dirname(makefile.name),
    );
    const sources = [...besides(makefile, drivers), ...besides(makefile, sorted.helpers)];
    const headers = besides(makefile, sorted.headers);
    const files = await copyAll([...sources, ...headers, ...makefiles], dir);
    const why = picked.why === undefined ? [] : [picked.why];
    return { value: { dir, files, hadMakefile: true }, changes: why };
  }
  return await takeLoneDriver(drivers, sorted, rules, dir);
}

async function takeLoneDriver(
  drivers: readonly Recognised[],
  sorted: Sorted,
  { module }: IntakeRules,
  dir: string,
): Promise<Told<LooseModule>> {
  const { chosen, why } = chooseOne(
    drivers.map((file) => ({ ...file, paths: [module.source] })),
    { title: 'Linux' },
  );
  const [driver] = chosen;
  if (driver === undefined) return { changes: [] };
  await copyAll(headersOf(driver, sorted.headers), dir);
  await writeFile(join(dir, module.source), driver.text, 'latin1');
  const object = module.object.replace(/\.o$/, '');
  const lines = [`obj-m := ${module.object}`, `${object}-y := ${module.source.replace(/\.c$/, '.o')}`];
  await writeFile(join(dir, 'Kbuild'), `${lines.join('\n')}\n`);
  const headers = headersOf(driver, sorted.headers).map(({ name }) => posix.basename(name));
  const said = `${driver.name} came alone and was taken as a loadable module; a makefile was added`;
  return {
    value: { dir, files: [module.source, ...headers, 'Kbuild'], hadMakefile: false },
    changes: [...(why === undefined ? [] : [why]), said],
  };
}

function besides(file: Recognised, others: readonly Recognised[]): Recognised[] {
  return others.filter(({ name }) => posix.dirname(name) === posix.dirname(file.name));
}

/** Copies the student's own program, headers beside it included. */
export async function takeApplication(
  sorted: Sorted,
  { application }: IntakeRules,
  dir: string,
): Promise<Told<LooseFile>> {
  const named = sorted.applications.filter(({ name }) => posix.basename(name) === application.name);
  const pool = named.length > 0 ? named : sorted.applications;
  const title = 'the application';
  const { chosen, why } = chooseOne(
    pool.map((file) => ({ ...file, paths: [title] })),
    { title },
  );
  const [file] = chosen;
  if (file === undefined) return { changes: [] };
  await copyAll(headersOf(file, sorted.headers), dir);
  const path = join(dir, application.name);
  await writeFile(path, file.text, 'latin1');
  return { value: { path, origin: file.name }, changes: why === undefined ? [] : [why] };
}

async function copyAll(files: readonly Recognised[], dir: string): Promise<string[]> {
  await mkdir(dir, { recursive: true });
  const names = files.map(({ name }) => posix.basename(name)).filter((name) => /^[\w.-]+$/.test(name));
  for (const { name, text } of files) {
    const base = posix.basename(name);
    if (names.includes(base)) await writeFile(join(dir, base), text, 'latin1');
  }
  return [...new Set(names)];
}
