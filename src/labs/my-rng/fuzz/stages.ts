import { LabError } from '../../../errors.js';
import type { FuzzRequest } from '../../../lab/fuzz.js';
import { type BareMachine, launchBare } from '../../../machine/bare.js';
import { Player, type Stage } from './player.js';

const TYPE = 'my_rng';
const KEY = '00112233445566778899aabbccddeeff';
const ALGORITHMS = ['xorshift64star', 'pcg32', 'mt19937'];

/** A device may keep QEMU from answering for longer than it does in a check: much is asked of it at once. */
const PATIENCE = 3;

/**
 * What the sessions of a fuzz are played on: the devices that were asked for, or what is worth it of those that this
 * QEMU's `my_rng` can be. One device where QEMU does not start with two.
 *
 * @throws LabError `machine/no-device`, and what `launchBare` throws.
 */
export async function stagesOf(request: FuzzRequest): Promise<[Stage, ...Stage[]]> {
  const { qemu, timeouts, signal, devices } = request;
  const patient = { ...timeouts, bareCommand: PATIENCE * timeouts.bareCommand };
  const stageOf = (list: readonly string[]): Stage => ({ qemu, devices: list, timeouts: patient, signal });
  const lists = devices.length > 0 ? [twice(devices)] : devicePairs(await properties(request));
  const stages = lists.map(stageOf);
  try {
    await (await Player.start(stages[0] as Stage))[Symbol.asyncDispose]();
    return stages as [Stage, ...Stage[]];
  } catch (error) {
    if (!(error instanceof LabError) || error.code !== 'machine/start') throw error;
    const single = stages.map((stage) => stageOf(stage.devices.slice(0, 1)));
    await (await Player.start(single[0] as Stage))[Symbol.asyncDispose]();
    return single as [Stage, ...Stage[]];
  }
}

function twice(devices: readonly string[]): readonly string[] {
  return devices.length === 1 ? [...devices, ...devices] : devices.slice(0, 2);
}

/** Pairs of devices, as for `-device`, that show all that a device with these properties can do. */
export function devicePairs(known: ReadonlyMap<string, string>): readonly (readonly string[])[] {
  if (!known.has('extended')) {
    return [[TYPE, TYPE], ...(known.has('key') ? [[TYPE, `${TYPE},key=${KEY}`]] : [])];
  }
  const extended = `${TYPE},extended=on`;
  const silent = known.has('msi') ? `${extended},msi=off` : extended;
  const timing = known.has('timing') ? ',timing=on' : '';
  const described = known.get('algorithm') ?? '';
  const algorithms = ALGORITHMS.filter((name) => described.includes(name));
  return [
    [extended, silent],
    [silent, extended],
    [`${extended}${timing}`, TYPE],
    [TYPE, silent],
    [`${extended},key=${KEY}`, `${silent},key=${KEY}${timing}`],
    ...algorithms.map((name) => [`${extended},algorithm=${name}`, `${silent},algorithm=${name}`]),
  ];
}

/** The properties of this QEMU's `my_rng`, with their descriptions. */
async function properties({ qemu, timeouts, signal }: FuzzRequest): Promise<Map<string, string>> {
  await using machine = await launchBare({ qemu, devices: [] }, { timeouts, signal });
  const list = await listOf(machine);
  return new Map(list.map(({ name, description }) => [name, description ?? '']));
}

async function listOf({
  monitor,
}: BareMachine): Promise<readonly { readonly name: string; readonly description?: string }[]> {
  try {
    return await monitor.execute('device-list-properties', { typename: TYPE });
  } catch (error) {
    if (!(error instanceof LabError) || error.code !== 'monitor/command') throw error;
    throw new LabError({
      code: 'machine/no-device',
      blame: 'user',
      fact: `this QEMU has no device ${TYPE}`,
      evidence: error.evidence,
      next: 'name the device with --device',
      cause: error,
    });
  }
}
