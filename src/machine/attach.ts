import { existsSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { LabError } from '../errors.js';
import { Monitor } from '../monitor/monitor.js';
import { fileNames } from './arguments.js';
import { ConsoleLog } from './console-log.js';
import { type LaunchOptions, lastLines } from './launch.js';
import { Machine, type QemuExit } from './machine.js';
import { type MachineRecord, machineFolder } from './record.js';

/**
 * Takes hold of a machine that an earlier command left running. The console is followed from now on.
 *
 * @throws LabError `machine/attach` when its monitor does not answer.
 */
export async function attachMachine(record: MachineRecord, options: LaunchOptions): Promise<Machine> {
  const dir = machineFolder(record.name);
  const socket = await connectTo(join(record.sockets, fileNames.monitorSocket), record.name);
  const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
  const monitor = await Monitor.attach(socket, options);
  return new Machine({
    spec: { name: record.name, ...(record.owner === undefined ? {} : { owner: record.owner }) },
    files: { dir, sockets: record.sockets },
    monitor,
    consoleLog: new ConsoleLog(join(dir, fileNames.console), 'end'),
    qemu: {
      pid: record.pid,
      exited: exitOf(record.pid, closed, join(dir, fileNames.output)),
      release: () => {},
    },
    timeouts: options.timeouts,
  });
}

function connectTo(path: string, name: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', (cause) =>
      reject(
        new LabError({
          code: 'machine/attach',
          blame: 'host',
          fact: `the monitor of the machine ${name} does not answer`,
          evidence: [cause.message],
          next: '`lab down --force` ends it',
          cause,
        }),
      ),
    );
  });
}

/** A process that is not our child sends no event when it ends, but its monitor closes a moment before. */
async function exitOf(pid: number, closed: Promise<void>, log: string): Promise<QemuExit> {
  await closed;
  for (let tries = 0; tries < 200 && existsSync(`/proc/${pid}`); tries += 1) await delay(5);
  return { code: null, signal: null, lines: await lastLines(log).catch(() => []) };
}
