import { statfs } from 'node:fs/promises';
import { LabError } from '../errors.js';
import type { Monitor } from '../monitor/monitor.js';

/** Less than this is a full disk: QEMU writes some at a time, and other programs write as well. */
const ROOM = 16 * 1024 ** 2;

/** Times that a guest is let go on; one whose disk fails again and again has another trouble. */
const TRIES = 3;

/**
 * Watches for the moment in which QEMU stops the guest because the host's disk is full. Where there is room by then,
 * the guest goes on as if nothing had been.
 *
 * @param dir folder of the machine's disk.
 * @returns rejects, with a LabError `machine/disk-full` (blame host), when the guest stays stopped. Never "unhandled".
 */
export function watchForHalt(monitor: Monitor, name: string, dir: string): Promise<never> {
  let tries = 0;
  const halted = new Promise<never>((_, reject) => {
    monitor.on('BLOCK_IO_ERROR', ({ data }) => {
      if (data.action !== 'stop' || data.nospace !== true || tries >= TRIES) return;
      tries += 1;
      goOn(monitor, name, dir).catch(reject);
    });
  });
  halted.catch(() => {});
  return halted;
}

/**
 * Lets a guest go on that was stopped because the host's disk was full; does nothing to any other.
 *
 * @returns whether it was stopped.
 * @throws LabError `machine/disk-full` (blame host) when the disk still is.
 */
export async function resume(monitor: Monitor, name: string, dir: string): Promise<boolean> {
  const { status } = await monitor.execute('query-status');
  if (status !== 'io-error') return false;
  await goOn(monitor, name, dir);
  return true;
}

async function goOn(monitor: Monitor, name: string, dir: string): Promise<void> {
  const { bavail, bsize } = await statfs(dir);
  const free = bavail * bsize;
  if (free < ROOM) throw diskFull(name, dir, free);
  await monitor.execute('cont').catch(() => {}); // a monitor that has closed says so itself
}

function diskFull(name: string, dir: string, free: number): LabError {
  return new LabError({
    code: 'machine/disk-full',
    blame: 'host',
    fact: `QEMU has stopped the machine ${name}: the host has no room for what it writes to its disk`,
    evidence: [`${dir}: ${(free / 1024 ** 2).toFixed(0)} MiB free`],
    next: 'free some space (`lab cache prune` removes what is least used), then `lab up` lets it go on',
  });
}
