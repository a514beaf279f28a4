import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crashKinds } from '../console/kernel-trouble.js';
import { LabError } from '../errors.js';
import type { ConnectOptions } from '../guest/connection.js';
import { connectWhenReady, Guest } from '../guest/guest.js';
import { loadOrMakeKeyPair } from '../guest/keys.js';
import { fileNames } from '../machine/arguments.js';
import { attachMachine } from '../machine/attach.js';
import type { Machine, QemuExit } from '../machine/machine.js';
import { type MachineRecord, machineFolder } from '../machine/record.js';
import { sanitizerError } from '../machine/sanitizers.js';
import type { Timeouts } from '../timeouts.js';
import { deadGuest, guestDeath, LISTENING } from './health.js';
import { clientKeys } from './keys.js';

/** What the guest prints when sshd accepts connections, or when it cannot; see vm/guest. */
const STARTED = new RegExp(`${LISTENING}|lab: sshd did not start`);

/**
 * Opens an SSH connection to a machine that is up and calls `use` with it. Everything ends at once, with the console,
 * when the guest's kernel has panicked or does so meanwhile, and when QEMU has stopped the guest.
 *
 * @param machine the same, where the caller holds it: of one that it does not hold, QEMU is asked only when the guest
 *   does not answer.
 */
export async function withGuest<T>(
  record: MachineRecord,
  timeouts: Timeouts,
  signal: AbortSignal,
  use: (guest: Guest) => Promise<T>,
  machine?: Machine,
): Promise<T> {
  const dead = await deadGuest(record.name);
  if (dead !== undefined) throw dead;
  const over = new AbortController();
  const death = guestDeath(record.name, over.signal);
  const fatal = machine === undefined ? death : Promise.race([death, machine.halted]);
  fatal.catch(() => {}); // the connection reports it
  try {
    await machine?.resume();
    const options = { ...(await loginOf(record)), timeouts, signal, fatal };
    await using guest = await Guest.connect(options).catch(async (error: LabError) => {
      const silent = machine === undefined && error.code === 'guest/unreachable';
      if (!silent || !(await wasStopped(record, timeouts, signal))) throw error;
      return await Guest.connect(options);
    });
    return await use(guest);
  } finally {
    over.abort();
  }
}

/** Whether it was QEMU that had stopped the guest, which goes on now. Throws as `resume` does. */
async function wasStopped(record: MachineRecord, timeouts: Timeouts, signal: AbortSignal): Promise<boolean> {
  // it serves one client at a time, and what that one sees of the machine it tells itself
  const machine = await attachMachine(record, { timeouts, signal }).catch(() => undefined);
  if (machine === undefined) return false;
  try {
    return await machine.resume();
  } finally {
    await machine.release();
  }
}

/** Opens an SSH connection to a machine that is up; `fatal` rejects when that is over. */
export async function connectTo(
  record: Address,
  timeouts: Timeouts,
  signal: AbortSignal,
  fatal?: Promise<never>,
): Promise<Guest> {
  return await Guest.connect({ ...(await loginOf(record)), timeouts, signal, fatal });
}

/**
 * Waits until the guest of a machine that was just started answers over SSH. Ends at once when the kernel panics
 * or QEMU exits, with that as the reason and the console's last lines.
 */
export async function whenReady(
  machine: Machine,
  login: Login,
  timeouts: Timeouts,
  signal: AbortSignal,
): Promise<Guest> {
  const stop = new AbortController();
  const inner = AbortSignal.any([signal, stop.signal]);
  const wait = { name: 'the guest to start its SSH server', timeout: timeouts.boot, signal: inner };
  const options = { ...wait, from: 0, fatal: crashKinds, settle: timeouts.consoleSettle };
  const listening = machine.console.waitFor(STARTED, options).then(({ line }) => {
    if (line.includes('did not start')) throw sshdFailed(machine);
  });
  const exit = machine.exited.then((how) => {
    throw (
      sanitizerError(how, machine.owner, join(machine.files.dir, fileNames.output)) ?? qemuEnded(machine, how)
    );
  });
  const fatal = Promise.race([exit, machine.halted, listening.then(() => new Promise<never>(() => {}))]);
  fatal.catch(() => {}); // also seen by connectWhenReady; when that has ended, nobody listens any more
  try {
    return await connectWhenReady({
      ...login,
      ready: listening,
      fatal,
      deadline: timeouts.boot,
      timeouts,
      signal: inner,
    });
  } finally {
    stop.abort();
  }
}

/** How the guest of a machine is reached. */
export type Login = Pick<ConnectOptions, 'host' | 'port' | 'dial' | 'user' | 'privateKey' | 'hostKey'>;

/** Which machine, and where its SSH server is reached. */
type Address = Pick<MachineRecord, 'name' | 'sshHost' | 'sshPort'>;

/** The login of a machine that `lab up` has made, or is making. */
export async function loginOf(address: Address): Promise<Login> {
  const { name, sshHost: host, sshPort: port } = address;
  const dir = machineFolder(name);
  const client = await clientKeys();
  const { publicKey } = await loadOrMakeKeyPair(dir, 'host_key');
  await writeSshConfig(dir, address, client.path, publicKey);
  return { host, port, user: 'root', privateKey: client.privateKey, hostKey: publicKey };
}

/** For OpenSSH's own tools: `ssh -F .lab/machines/<name>/ssh_config <name>`, with the host key checked. */
async function writeSshConfig(dir: string, address: Address, key: string, hostKey: string) {
  const { name, sshHost: host, sshPort: port } = address;
  const known = join(dir, 'known_hosts');
  const config = [
    `Host ${name}`,
    `  HostName ${host}`,
    `  Port ${port}`,
    '  User root',
    `  IdentityFile ${key}`,
    '  IdentitiesOnly yes',
    `  UserKnownHostsFile ${known}`,
    '  StrictHostKeyChecking yes',
    '  LogLevel ERROR',
  ];
  await writeFile(known, `${port === 22 ? host : `[${host}]:${port}`} ${hostKey}\n`);
  await writeFile(join(dir, 'ssh_config'), `${config.join('\n')}\n`);
}

function sshdFailed(machine: Machine): LabError {
  return new LabError({
    code: 'guest/no-sshd',
    blame: 'host',
    fact: `the SSH server in the guest of ${machine.name} did not start`,
    evidence: machine.console.lines().slice(-15),
    log: machine.consoleLog.path,
    next: `start from a fresh disk: lab up --name ${machine.name} --fresh`,
  });
}

function qemuEnded(machine: Machine, { code, signal, lines }: QemuExit): LabError {
  const how = signal ?? `exit code ${code}`;
  return new LabError({
    code: 'machine/exit',
    blame: 'host',
    fact: `QEMU ended (${how}) while the guest of ${machine.name} was starting`,
    evidence: [...lines, ...machine.console.lines().slice(-10)],
    log: machine.consoleLog.path,
    next: `run the saved command by hand: ${join(machine.files.dir, 'qemu.sh')}`,
  });
}
