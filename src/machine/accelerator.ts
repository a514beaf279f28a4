import { spawn } from 'node:child_process';
import { accessSync, constants, readFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { inTime } from '../deadline.js';
import { addToLeash, dropFromLeash } from '../host/leash.js';
import { LineSplitter } from '../host/lines.js';
import { cacheRoot } from '../host/paths.js';
import { killGroup } from '../host/run.js';
import { digestJson } from '../host/store.js';
import type { Timeouts } from '../timeouts.js';
import type { Accelerator, QemuInstallation } from './spec.js';

export interface AcceleratorChoice {
  readonly accelerator: Accelerator;
  /** Why, in words for the report. */
  readonly reason: string;
}

export interface ProbeOptions {
  readonly qemu: QemuInstallation;
  /** A kernel that ends in a panic when it finds no root device. */
  readonly kernel: string;
  readonly timeouts: Timeouts;
  readonly signal: AbortSignal;
}

/**
 * KVM if it really runs a guest here, TCG otherwise.
 *
 * An accessible `/dev/kvm` proves nothing: nested or filtered hosts create a VM, run firmware, and hang in the
 * kernel. So a kernel is booted once; only when it gets as far as looking for its root device is KVM used. The
 * answer is remembered per QEMU, kernel and boot of the host.
 */
export async function chooseAccelerator(options: ProbeOptions): Promise<AcceleratorChoice> {
  const problem = kvmProblem();
  if (problem !== undefined) return { accelerator: 'tcg', reason: problem };
  const file = join(cacheRoot(), 'probes', `kvm-${await probeKey(options)}.json`);
  const known = await readFile(file, 'utf8').catch(() => undefined);
  if (known !== undefined) return JSON.parse(known) as AcceleratorChoice;
  const choice = await bootProbe(options);
  await mkdir(join(cacheRoot(), 'probes'), { recursive: true });
  await writeFile(file, JSON.stringify(choice));
  return choice;
}

/** Why KVM cannot be used, as far as can be told without booting; undefined when it may be. */
export function kvmProblem(): string | undefined {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return cpuProblem(readFileSync('/proc/cpuinfo', 'utf8'));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return 'this host has no /dev/kvm';
    return `/dev/kvm cannot be opened (${code}); membership in the group kvm usually grants it`;
  }
}

/** Why drivers cannot be judged on this CPU: on one without SMAP a raw user pointer goes unnoticed. Pure. */
export function cpuProblem(cpuinfo: string): string | undefined {
  const flags = /^flags\s*:(.*)$/m.exec(cpuinfo)?.[1]?.split(' ');
  if (flags === undefined || flags.includes('smap')) return undefined;
  return "this host's CPU has no SMAP, without which a driver that touches a raw user pointer goes unnoticed";
}

async function probeKey({ qemu, kernel }: ProbeOptions): Promise<string> {
  const bootId = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  return digestJson({ qemu: qemu.binary, kernel, host: release(), bootId }).slice(0, 16);
}

async function bootProbe({ qemu, kernel, timeouts, signal }: ProbeOptions): Promise<AcceleratorChoice> {
  const child = spawn(
    qemu.binary,
    [
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-m', '256M'],
      ...['-machine', 'pc', '-accel', 'kvm', '-cpu', 'host'],
      ...qemu.dataDirs.flatMap((dir) => ['-L', dir]),
      ...['-kernel', kernel, '-append', 'console=ttyS0 panic=-1', '-serial', 'stdio'],
    ],
    { detached: true, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const { pid } = child;
  if (pid !== undefined) addToLeash(pid);
  let last = '';
  const proof = new Promise<'booted' | 'ended'>((resolve) => {
    const lines = new LineSplitter((line) => {
      if (line.trim() !== '') last = line.trim();
      if (/Unable to mount root fs|Cannot open root device/.test(line)) resolve('booted');
    });
    child.stdout.on('data', (chunk: Buffer) => lines.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => lines.push(chunk));
    child.on('error', () => resolve('ended'));
    child.on('close', () => resolve('ended'));
    signal.addEventListener('abort', () => resolve('ended'), { once: true });
  });
  const outcome = await inTime(proof, timeouts.accelProbe, () => 'late' as const);
  if (pid !== undefined) {
    killGroup(pid);
    dropFromLeash(pid);
  }
  return judge(outcome, last, timeouts.accelProbe);
}

function judge(outcome: 'booted' | 'ended' | 'late', last: string, limit: number): AcceleratorChoice {
  if (outcome === 'booted') return { accelerator: 'kvm', reason: 'a kernel booted under KVM' };
  const what =
    outcome === 'late'
      ? `a kernel under KVM did not reach its root device within ${limit / 1000} s`
      : 'QEMU ended before a kernel under KVM reached its root device';
  return { accelerator: 'tcg', reason: `${what} (last output: ${last === '' ? 'none' : last})` };
}
