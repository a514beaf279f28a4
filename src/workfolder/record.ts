import { readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { LabError } from '../errors.js';

/** The name of the file by which a work folder is known. */
export const WORK_FILE = 'lab-work.json';

const madeFrom = z.object({
  version: z.string(),
  /** The version that the exercise names, or that was asked for. */
  wanted: z.string(),
  origin: z.object({ kind: z.enum(['path', 'upstream', 'mirror', 'debian']), detail: z.string() }),
  digest: z.string(),
  /** The user's own tree or tarball, if it was made from one. */
  path: z.string().optional(),
  /** Time of a file made right after the copy, ms: what changed its inode earlier is as it was copied. */
  copied: z.number(),
});

const workRecord = z.object({
  format: z.literal('lab-work/1'),
  lab: z.string(),
  trees: z.object({ qemu: madeFrom.optional(), linux: madeFrom.optional() }),
});

/** From which sources a work folder was made. */
export type WorkRecord = z.infer<typeof workRecord>;
export type MadeFrom = z.infer<typeof madeFrom>;

export interface WorkFolder {
  readonly folder: string;
  readonly record: WorkRecord;
}

/**
 * The work folder that `start` is or lies in.
 *
 * @throws LabError `work/none` when there is none, `work/record` when what it says of itself cannot be understood.
 */
export async function findWork(start: string): Promise<WorkFolder> {
  const from = resolve(start);
  for (let folder = from; ; folder = dirname(folder)) {
    const record = await readRecord(folder);
    if (record !== undefined) return { folder, record };
    if (folder === dirname(folder)) break;
  }
  throw new LabError({
    code: 'work/none',
    blame: 'user',
    fact: `${from} is no work folder, nor does it lie in one: there is no ${WORK_FILE}`,
    next: 'name the folder that `lab work` made, or make one: lab work --into DIR',
  });
}

/** What the folder says of itself; undefined when it is no work folder. @throws LabError `work/record`. */
export async function readRecord(folder: string): Promise<WorkRecord | undefined> {
  const file = join(folder, WORK_FILE);
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  const parsed = workRecord.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new LabError({
    code: 'work/record',
    blame: 'user',
    fact: `${file} is damaged, or another version of lab wrote it`,
    evidence: parsed.error.issues.slice(0, 5).map(({ path, message }) => `${path.join('.')}: ${message}`),
    next: 'make a new work folder with `lab work --into DIR` and copy your files there',
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Replaces the record as a whole. */
export async function writeRecord({ folder, record }: WorkFolder): Promise<void> {
  const file = join(folder, WORK_FILE);
  await writeFile(`${file}.part`, `${JSON.stringify(record, null, 2)}\n`);
  await rename(`${file}.part`, file);
}
