import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Step, StepResult } from '../events.js';
import { createOverlay } from '../image/overlay.js';
import type { Timeouts } from '../timeouts.js';
import type { Prepared } from './prepare.js';

/**
 * The overlay that a machine writes to: kept from run to run, made anew when asked or when the base image is another
 * one (the old overlay is then kept beside it once, as `disk.old.qcow2`).
 */
export async function ensureDisk(
  dir: string,
  { image, qemu }: Pick<Prepared, 'image' | 'qemu'>,
  fresh: boolean,
  { step, timeouts }: { readonly step: Step; readonly timeouts: Timeouts },
): Promise<StepResult<string>> {
  const disk = join(dir, 'disk.qcow2');
  const stamp = join(dir, 'disk.base');
  const base = await readFile(stamp, 'utf8').catch(() => undefined);
  if (base === image.digest && !fresh) return { value: disk, outcome: 'cached', detail: 'kept from before' };
  if (base !== undefined && base !== image.digest) {
    await rename(disk, join(dir, 'disk.old.qcow2')).catch(() => {}); // an interrupted start left no disk
    step.note('the base image changed: the guest starts from the new one, its old disk is disk.old.qcow2');
  }
  await rm(stamp, { force: true });
  await rm(disk, { force: true });
  await createOverlay({
    base: image.path,
    path: disk,
    qemuImg: qemu.img,
    signal: step.signal,
    timeout: timeouts.hostTool,
  });
  await writeFile(stamp, image.digest);
  return { value: disk, detail: 'new overlay' };
}
