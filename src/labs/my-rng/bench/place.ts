import { LabError } from '../../../errors.js';
import type { Guest } from '../../../guest/guest.js';
import type { Machine } from '../../../machine/machine.js';
import { type Device, findDevices } from './counters.js';
import { BUSY, type Request } from './program.js';
import type { RngVariant } from './variants.js';

/** Where the numbers of a variant come from on this machine. */
export interface Place {
  readonly variant: RngVariant;
  /** What counts them. */
  readonly device: Device | undefined;
  readonly request: Request;
  /** Shell commands that make the guest ready, and those that undo it. */
  readonly enter: readonly string[];
  readonly leave: readonly string[];
}

const DRIVER = '/sys/bus/pci/drivers/my_rng_pci';
const HWRNG = '/sys/class/misc/hw_random';
const OWN_NODE = '/dev/my_rng_driver';

/**
 * Finds the variants' devices and nodes.
 *
 * @returns the places, and for the variants that this machine cannot show a reason.
 */
export async function findPlaces(
  { machine, guest }: { machine: Machine; guest: Guest },
  variants: readonly RngVariant[],
  signal: AbortSignal,
): Promise<{ places: Place[]; missing: Map<RngVariant, string> }> {
  const devices = await findDevices(machine);
  const sources = await sourcesOf(guest, signal);
  const missing = new Map<RngVariant, string>();
  const places = variants.flatMap((variant) => {
    const place = placeOf(variant, devices, sources);
    if (typeof place !== 'string') return [place];
    missing.set(variant, place);
    return [];
  });
  return { places, missing };
}

async function sourcesOf(guest: Guest, signal: AbortSignal): Promise<Sources> {
  const script = `cat ${HWRNG}/rng_current ${HWRNG}/rng_available`;
  const { stdout } = await guest.exec(script, { signal, check: true });
  const [current = 'none', available = ''] = stdout.trimEnd().split('\n');
  return { current, available: available.split(' ').filter(Boolean) };
}

/** What the kernel's hwrng offers. */
interface Sources {
  readonly current: string;
  readonly available: readonly string[];
}

/** The place, or why there is none. */
function placeOf(variant: RngVariant, devices: readonly Device[], sources: Sources): Place | string {
  const index = variant.device === undefined ? 0 : devices.findIndex(variant.device);
  const device = variant.device === undefined ? undefined : devices[index];
  if (variant.device !== undefined && device === undefined) return 'the machine has no such device';
  const { mode, path, size, module, source } = variant;
  if (source !== undefined) {
    const name = source(index);
    if (!sources.available.includes(name)) return `the kernel has no source ${name} (${HWRNG}/rng_available)`;
    return {
      variant,
      device,
      request: { mode, node: '/dev/hwrng', size },
      enter: [`echo ${name} >${HWRNG}/rng_current`],
      leave: [`echo ${sources.current} >${HWRNG}/rng_current`],
    };
  }
  const node = module === undefined ? `/dev/my_rng${index}` : OWN_NODE;
  const request = { mode, node, size, ...(path === undefined ? {} : { path }) };
  return { variant, device, request, ...commandsOf(module, device) };
}

/** Those that can have the basic device in place of my_rng_pci. */
const OTHER_MODULES = ['my_rng', 'my_rng_fixed'];

/** The basic device is taken from its driver and given to another one for a while. */
function commandsOf(
  module: RngVariant['module'],
  device: Device | undefined,
): Pick<Place, 'enter' | 'leave'> {
  if (module === undefined || device === undefined) return { enter: [], leave: [] };
  const address = `0000:00:${device.slot.toString(16).padStart(2, '0')}.0`;
  const leave = [
    ...OTHER_MODULES.map((name) => `if [ -d /sys/module/${name} ]; then rmmod ${name}; fi`),
    `[ -e ${DRIVER}/${address} ] || echo ${address} >${DRIVER}/bind`,
  ];
  const enter = [
    ...leave, // a run that was killed left its own
    `echo ${address} >${DRIVER}/unbind`,
    `insmod /opt/lab/${module}.ko`,
    `[ -e ${OWN_NODE} ] || mknod ${OWN_NODE} c 250 0`,
  ];
  return { enter, leave };
}

/** Calls `use` while the guest is ready for a variant; it is put back whatever happens, when rng-bench has ended. */
export async function inPlace<T>(
  guest: Guest,
  { variant, enter, leave }: Place,
  signal: AbortSignal,
  use: () => Promise<T>,
): Promise<T> {
  // neither is cut short: what goes on in the guest after an interruption would meet what undoes it
  const run = async (commands: readonly string[]) => {
    if (commands.length === 0) return;
    const script = [`flock ${BUSY} true`, ...commands].join('\n');
    const { exitCode, stdout, stderr } = await guest.exec(['sh', '-e', '-c', script]);
    if (exitCode !== 0) throw notReady(variant, `${stdout}${stderr}`);
  };
  try {
    await run(enter);
    signal.throwIfAborted();
    return await use();
  } finally {
    await run(leave);
  }
}

function notReady({ id }: RngVariant, said: string): LabError {
  return new LabError({
    code: 'bench/prepare',
    blame: 'host',
    fact: `the guest cannot be made ready for the variant ${id}`,
    evidence: said.trimEnd().split('\n').slice(-5),
    next: 'look at the kernel log of the guest: `lab exec -- dmesg`',
  });
}
