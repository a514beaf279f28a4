import { LabError } from '../src/errors.js';
import { nearest } from '../src/host/nearest.js';
import { liveRecord, type MachineRecord, recordedMachines } from '../src/machine/record.js';

/** All machines that run now. */
export function runningMachines(): MachineRecord[] {
  return recordedMachines()
    .map((name) => liveRecord(name))
    .filter((record) => record !== undefined);
}

/**
 * The running machine that is meant: the named one, or the only one.
 *
 * @throws LabError `usage/machine` that lists those that run.
 */
export function runningMachine(name: string | undefined): MachineRecord {
  const running = runningMachines();
  const [first, ...others] = running;
  const chosen = name === undefined ? first : running.find((record) => record.name === name);
  if (chosen !== undefined && (name !== undefined || others.length === 0)) return chosen;
  const names = running.map((record) => record.name);
  throw new LabError({
    code: 'usage/machine',
    blame: 'user',
    fact:
      running.length === 0
        ? 'no machine is running'
        : name === undefined
          ? 'several machines are running, and none was named'
          : `no machine called ${name} is running`,
    evidence: names.length === 0 ? [] : [`running: ${names.join(', ')}`],
    next: nextStep(name, names),
  });
}

function nextStep(name: string | undefined, names: readonly string[]): string {
  if (names.length === 0) return `start one: lab up${name === undefined ? '' : ` ${name}`}`;
  const near = name === undefined ? undefined : nearest(name, names);
  return near === undefined ? 'name one of them' : `did you mean ${near}?`;
}
