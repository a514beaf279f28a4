import { join } from 'node:path';
import { packageRoot } from '../host/paths.js';
import type { Sealed } from '../machine/spec.js';
import { type OpenJail, openJail } from './jail.js';
import { machineLimits } from './limits.js';
import type { Bind } from './spec.js';

/** QEMU's own filter of system calls, beyond the jail's walls (qemu-options, `-sandbox`). */
export const SECCOMP = [
  '-sandbox',
  'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
];

export interface JailedFiles {
  /** Files and folders that QEMU reads: itself, firmware, kernel, base image, keys. */
  readonly readOnly: readonly string[];
  /** Files that it writes: disk, console. */
  readonly writable: readonly string[];
}

/** A jail for a QEMU without a guest; its prefix is `BareSpec.wrap`. */
export function openBareJail(files: Pick<JailedFiles, 'readOnly'>): Promise<OpenJail> {
  return openJail({ readOnly: files.readOnly.map(asBind), descriptors: [3, 4], limits: machineLimits });
}

/** A jail for a machine, with what `MachineSpec.sealed` needs. */
export interface MachineJail extends AsyncDisposable {
  readonly sealed: Sealed;
  /** Tells a QEMU that ended at once from a jail that could not be set up: see `orSetupFailed`. */
  readonly status: OpenJail['status'];
}

/** Connections to the guest that can be made during the life of one machine: a dash knows one-digit descriptors. */
const RELAYS = 6;
const RELAY = '/run/lab/relay.py';

/** The port of the jail's own loopback at which QEMU listens for SSH; nobody else can reach it. */
const SSH_PORT = 2222;

/**
 * A jail in which QEMU runs a whole machine. The guest's SSH server is reached through inherited sockets, which a
 * small relay inside carries to the port that QEMU forwards.
 */
export async function openMachineJail({ readOnly, writable }: JailedFiles): Promise<MachineJail> {
  const relay = { from: join(packageRoot, 'src/sandbox/relay.py'), at: RELAY };
  const descriptors = Array.from({ length: RELAYS }, (_, i) => 4 + i);
  const jail = await openJail({
    descriptors: [3, ...descriptors],
    readOnly: [...readOnly.map(asBind), relay],
    writable: writable.map(asBind),
    limits: machineLimits,
  });
  const closed = descriptors.map((fd) => `${fd}>&-`).join(' ');
  const start = [
    `/usr/bin/python3 -I -S ${RELAY} ${SSH_PORT} ${descriptors.join(' ')} 3>&- &`,
    `exec "$@" ${closed}`,
  ].join('\n');
  return {
    sealed: {
      wrap: [...jail.prefix, '/bin/sh', '-c', start, 'machine'],
      relays: RELAYS,
      sshPort: SSH_PORT,
      arguments: SECCOMP,
    },
    status: jail.status,
    [Symbol.asyncDispose]: () => jail[Symbol.asyncDispose](),
  };
}

function asBind(from: string): Bind {
  return { from };
}
