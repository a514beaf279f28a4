import { copyFile, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stateRoot } from '../host/paths.js';
import { type Report, toJUnit } from './report.js';

/**
 * Keeps a run: its report as JSON and JUnit, with the console, the QMP traffic and the exact QEMU command of the
 * machine, in `.lab/runs/<n>`.
 *
 * @returns the folder.
 */
export async function keepRun(report: Report, machineDir: string): Promise<string> {
  const folder = await nextFolder(join(stateRoot(), 'runs'));
  await writeFile(join(folder, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
  await writeFile(join(folder, 'junit.xml'), toJUnit(report));
  for (const name of ['console.log', 'qmp.log', 'qemu.log', 'qemu.sh']) {
    await copyFile(join(machineDir, name), join(folder, name)).catch(() => {}); // a dead machine may lack one
  }
  return folder;
}

/** A new folder for one grading, `.lab/gradings/<n>`. */
export function newGradingFolder(): Promise<string> {
  return nextFolder(gradingsRoot());
}

/** Where gradings are kept. */
export function gradingsRoot(): string {
  return join(stateRoot(), 'gradings');
}

/** mkdir(2) decides between two runs that end at the same time. */
async function nextFolder(root: string): Promise<string> {
  await mkdir(root, { recursive: true });
  const taken = (await readdir(root)).map(Number).filter((n) => Number.isInteger(n));
  for (let n = Math.max(0, ...taken) + 1; ; n += 1) {
    const folder = join(root, String(n));
    const made = await mkdir(folder).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'EEXIST') return false;
        throw error;
      },
    );
    if (made) return folder;
  }
}
