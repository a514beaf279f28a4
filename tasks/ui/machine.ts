import { join, relative } from 'node:path';
import { tapAddresses } from '../../src/machine/network.js';
import { type MachineRecord, machineFolder } from '../../src/machine/record.js';

export interface DescribeOptions {
  readonly json: boolean;
  /** Whether this command started it. */
  readonly started: boolean;
}

/** A running machine as text for a person, or as JSON. */
export function describeMachine(record: MachineRecord, { json, started }: DescribeOptions): string {
  if (json) return `${JSON.stringify({ ...machineJson(record), started }, null, 2)}\n`;
  const rows = [
    `${record.name} is running${started ? '' : ' already'} (lab ${record.lab}, profile ${record.profile}, ${record.accelerator})`,
    '',
    ...Object.entries(record.made)
      .filter(([name]) => !name.endsWith('digest'))
      .map(([name, value]) => `  ${name.padEnd(8)}${value}`),
    ...(record.tap === undefined ? [] : [`  ${'network'.padEnd(8)}${tapText(record.tap)}`]),
    `  ${'ssh'.padEnd(8)}${sshCommand(record)}`,
    `  ${'console'.padEnd(8)}${shown(join(machineFolder(record.name), 'console.log'))}`,
    '',
    'Next: `lab test` checks it, `lab ssh` logs in, `lab down` shuts it down',
  ];
  return `${rows.join('\n')}\n`;
}

/** A machine's record with the paths that a script wants. */
export function machineJson(record: MachineRecord) {
  const dir = machineFolder(record.name);
  return {
    ...record,
    ssh: { host: record.sshHost, port: record.sshPort, user: 'root', config: join(dir, 'ssh_config') },
    files: {
      dir,
      console: join(dir, 'console.log'),
      qmp: join(dir, 'qmp.log'),
      command: join(dir, 'qemu.sh'),
    },
  };
}

function tapText({ device, ours }: NonNullable<MachineRecord['tap']>): string {
  const { host, guest, prefix } = tapAddresses;
  const undone = ours ? 'NAT, undone by `lab down`' : 'as its administrator made it';
  return `tap ${device}: host ${host}/${prefix}, guest ${guest}; ${undone}`;
}

function sshCommand({ name }: MachineRecord): string {
  return `ssh -F ${shown(join(machineFolder(name), 'ssh_config'))} ${name}`;
}

/** Relative to where the user is, when that is shorter. */
export function shown(path: string): string {
  const near = relative(process.cwd(), path);
  return near.length < path.length && !near.startsWith('../..') ? near : path;
}
