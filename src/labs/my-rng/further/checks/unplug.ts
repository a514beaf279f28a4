import {
  type Check,
  type CheckContext,
  CheckFailure,
  expectEqual,
  expectErrno,
} from '../../../../lab/check.js';
import { LiveProgram } from '../../../../lab/live-program.js';
import { mustRun } from '../../../../lab/run-logged.js';
import { unplugDevice } from '../../../../machine/hot-plug.js';
import { countedSince, countersOf } from '../counters.js';
import { type FurtherDevice, INTX, MSI } from '../devices.js';
import { devicesOnBus, pciNameOf } from '../driver.js';
import { type Call, callsOf, furtherEvent, PATHS, type PathName, PROBE } from '../probe.js';
import { expectRead } from './paths.js';

/** POLLERR and POLLHUP. */
const HUNG_UP = 0x18;

/** A device that goes while it is read: by the driver's leave, by the bus, or without a word. */
export const unplugChecks: readonly Check[] = [
  {
    id: 'unbind-in-use',
    title: 'the driver lets go of a device that is read: ENODEV for who reads; bound again, it serves again',
    deadline: 20_000,
    run: unbind,
  },
  ...[MSI, INTX].map((device) => ({
    id: `unplug-in-use-${device.interrupt.toLowerCase()}`,
    title: `a device with ${device.interrupt} that is read is removed, ejected and plugged in again`,
    deadline: 30_000,
    run: (context: CheckContext) => unplug(context, device, device === MSI ? 'bulk' : 'wide'),
  })),
  {
    id: 'pulled-out',
    title:
      'a device that is pulled out without a word in the middle of transfers costs its reader an error only',
    deadline: 40_000,
    run: pulledOut,
  },
];

const NOBODY = 'nobody may be left waiting when the device goes';

async function unbind(context: CheckContext): Promise<void> {
  const name = await pciNameOf(context, MSI.id);
  const driver = '/sys/bus/pci/drivers/my_rng_pci';
  await whileRead(context, MSI, 'bulk', async () => {
    await mustRun(context, `echo ${name} >${driver}/unbind; [ ! -e ${MSI.node} ]`);
  });
  await mustRun(context, `echo ${name} >${driver}/bind; [ -c ${MSI.node} ]`);
  await servesAgain(context, MSI);
}

async function unplug(context: CheckContext, device: FurtherDevice, path: PathName): Promise<void> {
  const name = await pciNameOf(context, device.id);
  await whileRead(context, device, path, async () => {
    await mustRun(context, `echo 1 >/sys/bus/pci/devices/${name}/remove; [ ! -e ${device.node} ]`);
    await unplugDevice(context.machine.monitor, device.id, context);
  }).finally(() => plugAgain(context, device));
  await servesAgain(context, device);
}

async function pulledOut(context: CheckContext): Promise<void> {
  const name = await pciNameOf(context, MSI.id);
  await whileRead(context, MSI, 'bulk', async () => {
    await unplugDevice(context.machine.monitor, MSI.id, context);
  }).finally(() => plugAgain(context, MSI, name));
  await servesAgain(context, MSI);
}

/** Has the probe read on and on while `end` takes the device from it, and looks at how it fared. */
async function whileRead(
  context: CheckContext,
  device: FurtherDevice,
  path: PathName,
  end: () => Promise<void>,
): Promise<void> {
  await using reader = await LiveProgram.start(context, `${PROBE} hold ${device.node} ${PATHS[path]}`);
  const first = await reader.until('the first page', 5000, (lines) => callOf(lines, 'first'));
  expectEqual('the first read', `${first.result} ${first.error}`, '4096 null');
  const before = await countersOf(context, device.id);
  await mustRun(context, ':');
  const now = countedSince(before, await countersOf(context, device.id));
  const busy = path === 'bulk' ? now['bulk-descriptors'] : now['wide-reads'];
  if (busy === 0) throw new CheckFailure('the device is not read while it is to go');
  await end();
  await reader.until('the end of the reader', 12_000, (lines) => callOf(lines, 'close')).catch(explain);
  const calls = callsOf(reader.lines.map(furtherEvent), 'poll');
  expectEqual('poll() before and after', calls.map(({ result }) => result).join(' '), `1 ${HUNG_UP}`);
  for (const call of ['read', 'get', 'get64', 'seed', 'path'])
    expectErrno(`${call} afterwards`, callOf(reader.lines, call)?.error, 'ENODEV');
  context.prove(
    `read by the path ${path} (${busy} ${path === 'bulk' ? 'transfers' : 'reads'} while we looked), then ENODEV for everything, POLLHUP`,
  );
}

function explain(error: unknown): never {
  if (!(error instanceof CheckFailure)) throw error;
  throw new CheckFailure(error.message, error.evidence, NOBODY);
}

function callOf(lines: readonly string[], name: string): Call | undefined {
  return callsOf(lines.map(furtherEvent), name)[0];
}

/**
 * Whatever a check has seen, the next one finds the device in its place.
 *
 * @param left what the guest still takes for a device
 */
async function plugAgain(context: CheckContext, device: FurtherDevice, left?: string): Promise<void> {
  const { machine, signal } = context;
  if (signal.aborted) return;
  if (left !== undefined) {
    const remove = `/sys/bus/pci/devices/${left}/remove`;
    await mustRun(context, `[ ! -e ${remove} ] || echo 1 >${remove}; [ ! -e ${device.node} ]`);
  }
  const there = (await devicesOnBus(context)).some(({ id }) => id === device.id);
  if (!there) await machine.monitor.execute('device_add', optionsOf(device), { signal });
  await mustRun(context, `echo 1 >/sys/bus/pci/rescan; [ -c ${device.node} ]`);
}

/** What `-device` says, for `device_add`. */
function optionsOf({ argument }: FurtherDevice) {
  const [driver = '', ...properties] = argument.split(',');
  const pairs = properties.map((text) => {
    const [name = '', value = ''] = text.split('=');
    return [name, SWITCH.get(value) ?? value] as const;
  });
  return { driver, ...Object.fromEntries(pairs) };
}

const SWITCH: ReadonlyMap<string, boolean> = new Map([
  ['on', true],
  ['off', false],
]);

async function servesAgain(context: CheckContext, device: FurtherDevice): Promise<void> {
  const seed = context.nonce.readUInt32LE(12);
  await expectRead(context, device, { path: 'bulk', seed, bytes: 256 * 1024, chunk: 65536 });
  context.prove(`${device.node} is there again and gives the sequence of seed ${seed} in bulk`);
}
