import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';

export const root = join(import.meta.dirname, '../..');

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Cli {
  /** Folder with the machines and runs of these tests. */
  readonly state: () => string;
  /** Runs `./lab ARGS` to its end. */
  readonly lab: (...args: string[]) => Promise<CliResult>;
  /** Starts `./lab ARGS`; the caller ends it. */
  readonly start: (...args: string[]) => ChildProcess;
}

/**
 * `./lab` with a state folder of its own, which is taken down and removed after the tests of the file. The cache is
 * the user's: nothing is built twice.
 *
 * @param wrap gives a command that is put before `./lab`.
 */
export function useCli(wrap: () => readonly string[] = () => []): Cli {
  let state = '';
  const start = (...args: string[]) => {
    const [program = '', ...rest] = [...wrap(), join(root, 'lab'), ...args];
    return spawn(program, rest, {
      env: { ...process.env, LAB_STATE: state, CI: 'true' },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
  };
  const lab = async (...args: string[]) => await finished(start(...args));
  beforeAll(async () => {
    state = await mkdtemp(join(tmpdir(), 'lab-vm-'));
  });
  afterAll(async () => {
    await lab('down', '--all', '--force');
    await rm(state, { recursive: true, force: true });
  });
  return { state: () => state, lab, start };
}

/** Collects the output of a process and waits for its end. */
export async function finished(child: ChildProcess): Promise<CliResult> {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk));
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk));
  child.stdin?.end();
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, stdout, stderr };
}

/** Resolves when the process has printed this on standard error. */
export async function said(child: ChildProcess, text: string): Promise<void> {
  let seen = '';
  await new Promise<void>((resolve, reject) => {
    child.stderr?.on('data', (chunk: Buffer) => {
      seen += chunk;
      if (seen.includes(text)) resolve();
    });
    child.on('close', () => reject(new Error(`it ended without saying "${text}": ${seen}`)));
  });
}

/** Ids of the QEMU processes whose command line contains `text`. */
export function qemuProcesses(text: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && commandOf(pid).includes(text))
    .filter((pid) => commandOf(pid).split('\0')[0]?.endsWith('qemu-system-x86_64'));
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return ''; // it ended while we looked
  }
}

/** Waits until no QEMU of this state folder is left; a killed one takes a moment to go. */
export async function noQemuLeft(state: string): Promise<boolean> {
  for (let i = 0; i < 300; i += 1) {
    if (qemuProcesses(state).length === 0) return true;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return false;
}
