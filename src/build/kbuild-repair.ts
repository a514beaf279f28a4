import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** What was being written when a build was killed lies within this many milliseconds of its last sign of life. */
const LAST_MOMENTS = 2_000;

/**
 * Removes from a kbuild output folder what a killed build may have left half done.
 *
 * kbuild writes `.x.o.cmd` after `x.o` is complete, and takes an object as up to date when it is newer than its
 * sources and the recorded command is the same. So an object that is newer than its record is one whose making was
 * cut short, for instance between the compiler and objtool, and make alone would keep it. Records from the last
 * moments may themselves be cut short.
 */
export async function dropUnfinished(build: string): Promise<void> {
  const records = await listRecords(build);
  const last = Math.max(0, ...records.map(({ time }) => time));
  for (const { record, target, time } of records) {
    const made = await timeOf(target);
    if (made === undefined || (made <= time && time < last - LAST_MOMENTS)) continue;
    await rm(record, { force: true });
    await rm(target, { force: true });
  }
}

/** How many targets of kbuild are made in an output folder. */
export async function countFinished(build: string): Promise<number> {
  return (await listRecords(build)).length;
}

interface Made {
  /** `.x.o.cmd` */
  readonly record: string;
  /** `x.o` */
  readonly target: string;
  readonly time: number;
}

async function listRecords(build: string): Promise<Made[]> {
  const records: Made[] = [];
  for (const entry of await readdir(build, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !/^\..+\.cmd$/.test(entry.name)) continue;
    const record = join(entry.parentPath, entry.name);
    const time = await timeOf(record);
    if (time !== undefined)
      records.push({ record, target: join(entry.parentPath, entry.name.slice(1, -4)), time });
  }
  return records;
}

async function timeOf(path: string): Promise<number | undefined> {
  return (await lstat(path).catch(() => undefined))?.mtimeMs;
}
