import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { LabError } from '../errors.js';
import { packageRoot } from '../host/paths.js';
import type { Entry, MakeOptions } from './fixture-entry.js';
import { extraEntry } from './fixture-extra.js';
import { pack } from './fixture-pack.js';
import { renderPart } from './fixture-patch.js';
import {
  type FixtureFile,
  type FixtureKind,
  type FixtureLayout,
  fixtureSchemas,
  layoutSchema,
} from './fixture-schema.js';
import { editsOf, modifiedTree, readSources, sourceOf } from './fixture-sources.js';

/** A hand-in written by us, with the outcome that grading it must have. */
export interface Fixture extends FixtureFile {
  readonly name: string;
  readonly kind: FixtureKind;
  readonly dir: string;
  readonly base: string;
  readonly layout: FixtureLayout;
}

/** Host paths of the unpacked sources that hand-ins are made against; QEMU's only for a lab that changes it. */
export interface PristineTrees {
  readonly qemu?: string;
  readonly linux?: string;
}

/**
 * All fixtures of a lab, `patches/<lab>/submissions/{good,bad,hostile}/<name>/`, by kind and name.
 *
 * @throws LabError `fixture/invalid` with every fault of the first file that has one.
 */
export async function listFixtures(labName: string): Promise<Fixture[]> {
  const root = join(packageRoot, 'patches', labName, 'submissions');
  const base = join(root, 'base');
  const layout = await readChecked(join(base, 'layout.json'), layoutSchema);
  const kinds = Object.keys(fixtureSchemas) as FixtureKind[];
  const perKind = await Promise.all(
    kinds.map(async (kind) => {
      const names = (await readdir(join(root, kind))).sort();
      return await Promise.all(
        names.map((name) => readFixture({ name, kind, dir: join(root, kind, name), base, layout })),
      );
    }),
  );
  return perKind.flat();
}

/**
 * Writes the hand-in into the folder `into`: a folder of the fixture's name, or a file with an ending.
 *
 * The bytes depend only on the fixture, the pristine trees and the versions of git, diff and xz. Nothing of it is run.
 *
 * @returns its path.
 * @throws LabError `fixture/invalid`, `build/anchor`, `run/…`.
 */
export async function makeHandIn(
  fixture: Fixture,
  trees: PristineTrees,
  into: string,
  options: MakeOptions,
): Promise<string> {
  const { handIn } = fixture;
  const entries: Entry[] = [];
  for (const part of ['device', 'driver'] as const) {
    entries.push(...(await entriesOf(fixture, part, trees, options)));
  }
  for (const { part, name, edits } of handIn.further) {
    const further = { ...fixture, handIn: { ...handIn, [part]: { ...handIn[part], name } } };
    const edited = { ...further, edits: [...fixture.edits, ...edits] };
    entries.push(...(await entriesOf(edited, part, trees, options)));
  }
  entries.push(...(await looseEntries(fixture)));
  const folders = handIn.wrap.length === 0 ? [''] : handIn.wrap.map((folder) => `${folder}/`);
  const placed = folders.flatMap((folder) =>
    entries.map((entry) => ({ ...entry, path: folder + entry.path })),
  );
  return await pack(handIn.form, placed, join(into, handIn.name ?? fixture.name), options);
}

/** One half, as it is handed in. */
async function entriesOf(
  fixture: Fixture,
  part: 'device' | 'driver',
  trees: PristineTrees,
  options: MakeOptions,
): Promise<Entry[]> {
  const layout = fixture.layout.parts[part];
  if (layout === undefined) return [];
  const tree = await modifiedTree(fixture, layout, part, await readSources(fixture), trees[layout.project]);
  const edits = editsOf(fixture, `${part}.patch`);
  return await renderPart({ layout, handIn: fixture.handIn[part], tree, edits }, options);
}

/** What is handed in besides the two halves. */
async function looseEntries(fixture: Fixture): Promise<Entry[]> {
  const sources = await readSources(fixture);
  const text = (name: string) => sourceOf(sources, name, fixture.name);
  const own = fixture.layout.loose.filter((name) => !fixture.drop.includes(name));
  return [
    ...own.map((name) => ({ path: name, data: Buffer.from(text(name)) })),
    ...fixture.handIn.extra.map((file) => extraEntry(file, text)),
  ];
}

type Place = Pick<Fixture, 'name' | 'kind' | 'dir' | 'base' | 'layout'>;

async function readFixture(place: Place): Promise<Fixture> {
  const path = join(place.dir, 'fixture.json');
  const { lines, parts } = place.layout;
  const usual = { device: parts.device?.handIn, driver: parts.driver?.handIn };
  const file: FixtureFile = await readChecked(path, fixtureSchemas[place.kind], (json) =>
    withUsual(json, usual),
  );
  const wanted = new Set(lines);
  const faults = [
    ...lines.filter((id) => !(id in file.expect)).map((id) => `expect: no outcome for ${id}`),
    ...Object.keys(file.expect)
      .filter((id) => !wanted.has(id))
      .map((id) => `expect: unknown line ${id}`),
    ...(file.breaks ?? []).filter((id) => !wanted.has(id)).map((id) => `breaks: unknown line ${id}`),
  ];
  if (faults.length > 0) throw invalid(path, faults);
  return { ...file, ...place };
}

/** A fixture as its file has it, with what the lab's layout says about each part beneath. */
function withUsual(json: unknown, usual: Readonly<Record<string, unknown>>): unknown {
  const { handIn = {}, ...rest } = json as { readonly handIn?: Readonly<Record<string, object>> };
  const parts = Object.entries(usual).map(([part, fields]) => [
    part,
    { ...(fields as object), ...handIn[part] },
  ]);
  return { ...rest, handIn: { ...handIn, ...Object.fromEntries(parts) } };
}

async function readChecked<T extends z.ZodType>(
  path: string,
  schema: T,
  complete: (json: unknown) => unknown = (json) => json,
): Promise<z.infer<T>> {
  let json: unknown;
  try {
    json = complete(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    throw invalid(path, [String(cause)]);
  }
  const result = schema.safeParse(json);
  if (!result.success) throw invalid(path, z.prettifyError(result.error).split('\n'));
  return result.data;
}

function invalid(path: string, evidence: readonly string[]): LabError {
  return new LabError({
    code: 'fixture/invalid',
    blame: 'user',
    fact: `${path} does not describe a fixture`,
    evidence,
    next: 'correct the file',
  });
}
