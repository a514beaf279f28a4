import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { type Collected, collect, type HandedFile } from './collect.js';
import { codeFiles, type DeviceRule, deviceEntries } from './device-files.js';
import { type Reading, readGuarded, type Surroundings } from './guarded.js';
import { idOf } from './names.js';
import { problem } from './problems.js';
import type { IntakeProblem, LooseDevices, Submission } from './submission.js';
import { handIns, severalProblem } from './two-hand-ins.js';

export interface DeviceReading extends Reading {
  readonly rules: readonly DeviceRule[];
}

/**
 * Reads a hand-in of block devices: TypeScript or JavaScript files, with others beside them that they import, in a
 * folder, an archive or as a single file. Nothing of it is executed or translated.
 *
 * Whatever is wrong with it becomes one of its `problems`.
 *
 * @throws LabError `intake/no-input` when there is nothing at `path`; `interrupted`; faults of the host.
 */
export async function takeInDevices(path: string, options: DeviceReading): Promise<Submission> {
  return await readGuarded(path, options, (surroundings) => read(path, surroundings, options));
}

async function read(
  path: string,
  { kind, scratch, signal }: Surroundings,
  { rules, into }: DeviceReading,
): Promise<Submission> {
  const collected = await collect(path, kind, { scratch, isTreeFile: () => false, signal });
  const files = codeFiles(collected.files);
  const several = handIns(files, (folder) => rules.some(({ words }) => words.test(folder)));
  const found = several.length > 1 ? { entries: [], changes: [] } : deviceEntries(files, rules);
  const problems = [...collected.problems, ...(several.length > 1 ? [severalProblem(several)] : [])];
  if (found.entries.length === 0 && problems.length === 0) problems.push(nothingUsable(collected));
  const dir = join(into, 'devices');
  if (found.entries.length > 0) await copy(collected.files, dir);
  const entries = found.entries.map(({ file: { name }, ...rest }) => ({
    ...{ path: join(dir, name), origin: name },
    ...rest,
  }));
  const devices: LooseDevices = { dir, entries };
  const record = { input: path, digest: collected.digest, files: collected.listing };
  await writeFile(join(into, 'input.json'), `${JSON.stringify(record, undefined, 2)}\n`);
  return {
    ...{ id: idOf(basename(resolve(path))), input: path, digest: collected.digest, parts: {}, devices },
    ...{ changes: [...collected.changes, ...found.changes], problems },
    ...(collected.newest === undefined ? {} : { handedIn: collected.newest }),
  };
}

/** What a device may import; a translator takes many kinds of files for text or data. */
const TAKEN = /\.([cm]?[jt]sx?|json|txt)$/i;

/** The jail's code has a user id of its own, and reads them. */
async function copy(files: readonly HandedFile[], dir: string): Promise<void> {
  const taken = new Map(files.filter(({ name }) => TAKEN.test(name)).map((file) => [file.name, file.data]));
  const folders = new Set([...taken.keys()].flatMap(upwards));
  for (const folder of [...folders].sort()) {
    await mkdir(join(dir, folder), { recursive: true });
    await chmod(join(dir, folder), 0o755);
  }
  for (const [name, data] of taken) {
    if (folders.has(name)) continue; // archives can hold a file and a folder of one name
    await writeFile(join(dir, name), data);
    await chmod(join(dir, name), 0o644);
  }
}

/** The folder of a file, and those that hold it, `.` included. */
function upwards(name: string): string[] {
  const folder = dirname(name);
  return folder === '.' ? ['.'] : [...upwards(folder), folder];
}

function nothingUsable({ files, changes }: Collected): IntakeProblem {
  const next =
    'hand in TypeScript or JavaScript files that export a class with blockSize(), blocks() and read()';
  if (files.length === 0)
    return problem('the hand-in holds no file that could be graded', next, { evidence: changes });
  const evidence = files.map(({ name }) => name).slice(0, 10);
  return problem('there is no file with a block device in the hand-in', next, { evidence });
}
