import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { LabError } from '../errors.js';
import { stateRoot } from '../host/paths.js';

const schema = z.object({
  format: z.literal(1),
  lab: z.string(),
  name: z.string(),
  profile: z.string(),
  variant: z.string(),
  accelerator: z.enum(['kvm', 'tcg']),
  /** `starting` until SSH answered and the lab is deployed. */
  stage: z.enum(['starting', 'running']),
  pid: z.number().int().positive(),
  /** Start of the process in clock ticks since boot, and the boot: together they make the pid unmistakable. */
  startTime: z.string(),
  bootId: z.string(),
  /** Where the guest's SSH server is reached from this host. */
  sshHost: z.string().default('127.0.0.1'),
  sshPort: z.number().int().positive(),
  /** Present when the machine hangs on a tap device; `ours`: what we set up on the host is to be undone. */
  tap: z.object({ device: z.string(), ours: z.boolean() }).optional(),
  sockets: z.string(),
  /** Who answers for the lab's devices, and the source files that they are made of. */
  owner: z.object({ blame: z.enum(['submission', 'host', 'user']), files: z.array(z.string()) }).optional(),
  /** Digest of everything that a restart is needed for. */
  machineDigest: z.string(),
  /** Digest of what is deployed into the running guest. */
  deployDigest: z.string(),
  /** What the machine was made of, as shown by `lab status`. */
  made: z.record(z.string(), z.string()),
});

/** What is kept on disk about a machine that is running, so that later commands find it. */
export type MachineRecord = z.infer<typeof schema>;

const FILE = 'machine.json';

/** `.lab/machines/<name>`: disk, console, sockets, record and lock of one machine. */
export function machineFolder(name: string): string {
  return join(stateRoot(), 'machines', name);
}

/** Names of all machines that have a record. */
export function recordedMachines(): string[] {
  try {
    return readdirSync(join(stateRoot(), 'machines')).filter((name) => readText(name) !== undefined);
  } catch {
    return []; // nothing was ever started
  }
}

/**
 * The record of a machine whose process is alive; undefined when there is none. The record of a process that is
 * gone (crash, reboot of the host) is not an error and counts as none.
 *
 * @throws LabError `machine/record` when the file cannot be understood.
 */
export function liveRecord(name: string): MachineRecord | undefined {
  const record = readRecord(name);
  return record !== undefined && isAlive(record) ? record : undefined;
}

/** The record as written, alive or not. */
export function readRecord(name: string): MachineRecord | undefined {
  const text = readText(name);
  if (text === undefined) return undefined;
  const parsed = schema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new LabError({
    code: 'machine/record',
    blame: 'host',
    fact: `${join(machineFolder(name), FILE)} cannot be understood`,
    evidence: z.prettifyError(parsed.error).split('\n').slice(0, 5),
    next: `end a QEMU that still runs for it, then remove it: rm ${join(machineFolder(name), FILE)}`,
  });
}

/** Written aside and renamed, so that no reader sees half of it. */
export async function writeRecord(record: MachineRecord): Promise<void> {
  const path = join(machineFolder(record.name), FILE);
  await mkdir(machineFolder(record.name), { recursive: true });
  await writeFile(`${path}.part`, `${JSON.stringify(record, null, 2)}\n`);
  await rename(`${path}.part`, path);
}

/** The machine is no more. */
export async function removeRecord(name: string): Promise<void> {
  await rm(join(machineFolder(name), FILE), { force: true });
}

/** What identifies a live process beyond its number: its start time and the boot of the host. */
export async function processIdentity(pid: number): Promise<{ startTime: string; bootId: string }> {
  return { startTime: startTime(await readFile(`/proc/${pid}/stat`, 'utf8')), bootId: bootId() };
}

function isAlive(record: MachineRecord): boolean {
  if (record.bootId !== bootId()) return false;
  try {
    return startTime(readFileSync(`/proc/${record.pid}/stat`, 'utf8')) === record.startTime;
  } catch {
    return false; // no such process
  }
}

/** Field 22 of /proc/PID/stat; a zombie counts as gone. */
function startTime(stat: string): string {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' ? 'gone' : (fields[19] ?? 'gone');
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

function readText(name: string): string | undefined {
  try {
    return readFileSync(join(machineFolder(name), FILE), 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new LabError({
      code: 'machine/record',
      blame: 'host',
      fact: `${join(machineFolder(name), FILE)} cannot be read (${code})`,
      next: 'it may belong to another user: set LAB_STATE to a folder of your own',
      cause: error,
    });
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
