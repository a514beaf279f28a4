import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { insertText } from '../build/edit.js';
import { LabError } from '../errors.js';
import type { FixtureFile, FixtureLayout, PartLayout } from './fixture-schema.js';

/** Texts by name: the base sources, those beside the fixture, both as the fixture's edits leave them. */
export type Sources = ReadonlyMap<string, string>;

interface WithSources extends FixtureFile {
  readonly name: string;
  readonly dir: string;
  readonly base: string;
  readonly layout: FixtureLayout;
}

/** The files of one source tree that a student changed, by path, before and after. */
export interface ModifiedTree {
  readonly before: ReadonlyMap<string, string>;
  readonly after: ReadonlyMap<string, string>;
  /** The hand-in outside of the tree, by file name. */
  readonly module: ReadonlyMap<string, string>;
}

export type Edit = FixtureFile['edits'][number];

const PATCHES: readonly string[] = ['device.patch', 'driver.patch'];

/**
 * Reads the sources of a fixture and applies its edits.
 *
 * @throws LabError `fixture/invalid` when an edit does not find its text exactly once, or a file beside is not used.
 */
export async function readSources(fixture: WithSources): Promise<Sources> {
  const sources = new Map<string, string>();
  for (const name of await readdir(fixture.base)) {
    if (name !== 'layout.json') sources.set(name, await readFile(join(fixture.base, name), 'utf8'));
  }
  for (const [name, path] of Object.entries(fixture.layout.sources))
    sources.set(name, await readFile(join(fixture.base, '../..', path), 'utf8'));
  const used = new Set([...sources.keys(), ...namesUsed(fixture)]);
  for (const name of await readdir(fixture.dir)) {
    if (name === 'fixture.json') continue;
    if (!used.has(name)) throw invalid(fixture.name, `${name} lies beside it and is not used`);
    sources.set(name, await readFile(join(fixture.dir, name), 'utf8'));
  }
  for (const edit of fixture.edits.filter(({ file }) => !PATCHES.includes(file))) {
    sources.set(edit.file, applyEdit(sourceOf(sources, edit.file, fixture.name), edit, fixture.name));
  }
  return sources;
}

function namesUsed(fixture: FixtureFile): string[] {
  const extra = fixture.handIn.extra.flatMap((file) => ('source' in file ? [file.source] : []));
  return [...fixture.add.map(({ source }) => source), ...Object.values(fixture.against), ...extra];
}

export function sourceOf(sources: Sources, name: string, fixture: string): string {
  const text = sources.get(name);
  if (text === undefined) throw invalid(fixture, `there is no source called ${name}`);
  return text;
}

/** The edits of one rendered patch, as a function of its text. */
export function editsOf(fixture: WithSources, file: string): ((patch: string) => string) | undefined {
  const edits = fixture.edits.filter((edit) => edit.file === file);
  if (edits.length === 0) return undefined;
  return (patch) => edits.reduce((text, edit) => applyEdit(text, edit, fixture.name), patch);
}

function applyEdit(text: string, { file, find, replace }: Edit, fixture: string): string {
  const parts = text.split(find);
  if (parts.length !== 2) {
    throw invalid(fixture, `"${find}" occurs ${parts.length - 1} times in ${file}, not once`);
  }
  return parts.join(replace);
}

/** What a student with these sources would have made of the tree at the host path `pristine`, or of an empty folder. */
export async function modifiedTree(
  fixture: WithSources,
  layout: PartLayout,
  part: 'device' | 'driver',
  sources: Sources,
  pristine: string | undefined,
): Promise<ModifiedTree> {
  const before = new Map<string, string>();
  const after = new Map<string, string>();
  const own = fixture.add.filter((addition) => addition.part === part);
  const kept = layout.files.filter(({ source }) => !fixture.drop.includes(source));
  for (const { source, path, where } of [...kept, ...own]) {
    const other = fixture.against[path];
    const old =
      other === undefined ? await readIfThere(pristine, path) : sourceOf(sources, other, fixture.name);
    if (old !== undefined) before.set(path, old);
    const text = sourceOf(sources, source, fixture.name);
    const target = { path, blame: 'user' } as const;
    after.set(
      path,
      where === undefined ? text : insertText(after.get(path) ?? old ?? '', where, text, target),
    );
  }
  const module = layout.module.filter(({ source }) => !fixture.drop.includes(source));
  return {
    before,
    after,
    module: new Map(module.map(({ source, path }) => [path, sourceOf(sources, source, fixture.name)])),
  };
}

async function readIfThere(tree: string | undefined, path: string): Promise<string | undefined> {
  if (tree === undefined) return undefined;
  try {
    return await readFile(join(tree, path), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function invalid(fixture: string, fact: string): LabError {
  return new LabError({
    code: 'fixture/invalid',
    blame: 'user',
    fact: `the fixture ${fixture} cannot be made: ${fact}`,
    next: 'correct its fixture.json',
  });
}
