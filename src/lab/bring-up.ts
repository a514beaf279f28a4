import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildInitrd, type Initrd } from '../build/initrd.js';
import { runStep, type StepContext } from '../events.js';
import type { Guest } from '../guest/guest.js';
import { loadOrMakeKeyPair } from '../guest/keys.js';
import { withLock } from '../host/lock.js';
import { socketFolder } from '../host/paths.js';
import { digestJson } from '../host/store.js';
import { chooseAccelerator } from '../machine/accelerator.js';
import { attachMachine } from '../machine/attach.js';
import { launch } from '../machine/launch.js';
import type { Machine } from '../machine/machine.js';
import { type Network, TAP_SSH } from '../machine/network.js';
import { loadProfile } from '../machine/profiles.js';
import {
  liveRecord,
  type MachineRecord,
  machineFolder,
  processIdentity,
  removeRecord,
  writeRecord,
} from '../machine/record.js';
import type { Accelerator, MachineFiles, MachineSpec } from '../machine/spec.js';
import type { Timeouts } from '../timeouts.js';
import { rememberBootable } from './bootable.js';
import { connectTo, loginOf, whenReady } from './connect.js';
import { deploy, deployDigest } from './deploy.js';
import { ensureDisk } from './disk.js';
import { deadGuest } from './health.js';
import { clientKeys } from './keys.js';
import {
  closeDeadNetwork,
  closeNetwork,
  giveResolvers,
  NETWORK_STEP,
  openNetwork,
  requireNetwork,
} from './network.js';
import {
  deviceOwner,
  type Prepared,
  type PrepareOptions,
  prepare,
  prepareSteps,
  prepareStepsFor,
  variantOf,
} from './prepare.js';
import { shutDown } from './take-down.js';
import { verifyTopology } from './topology.js';

/** Everything that decides what `lab up` brings up. */
export interface UpOptions extends PrepareOptions {
  /** Name of the machine; several may run side by side. */
  readonly name: string;
  readonly profile: string;
  readonly accelerator: 'auto' | Accelerator;
  readonly net: Network;
  readonly memoryMiB: number;
  /** Start from the base image, forgetting what the guest wrote before. */
  readonly fresh: boolean;
}

/** The steps of `bringUp`; which of them run depends on the options, see `upStepsFor`. */
const upSteps = {
  ...prepareSteps,
  initrd: 'Initial RAM disk',
  accelerator: 'Accelerator',
  disk: 'Disk',
  launch: 'Start QEMU',
  network: NETWORK_STEP,
  boot: 'Boot to SSH',
  deploy: 'Deploy',
} as const;

/** The steps that `bringUp` takes with these options, for a display that lists them before they start. */
export function upStepsFor(options: UpOptions): Readonly<Record<string, string>> {
  const { initrd, accelerator, disk, launch, network, boot, deploy } = upSteps;
  return {
    ...prepareStepsFor(options),
    ...(options.kernel === 'distro' ? { initrd } : {}),
    ...{ accelerator, disk, launch },
    ...(options.net.kind === 'tap' ? { network } : {}),
    ...{ boot, deploy },
  };
}

/** A machine that is up; whoever holds it releases it (it lives on) or disposes of it (it ends). */
export interface Up {
  readonly record: MachineRecord;
  readonly machine: Machine;
  readonly guest: Guest;
  /** False when it was running already, as asked for. */
  readonly started: boolean;
}

/**
 * Makes sure that the lab's machine runs as asked and calls `use` with it while the machine's lock is held.
 *
 * A machine that runs already is kept when nothing it was made of has changed; when only modules or programs have,
 * they are deployed again; otherwise it is shut down and started anew. If `use` or anything before it fails, a
 * machine that was started here is ended; a machine that ran before is left alone.
 */
export async function bringUp<T>(
  options: UpOptions,
  context: StepContext,
  timeouts: Timeouts,
  use: (up: Up) => Promise<T>,
): Promise<T> {
  const folder = machineFolder(options.name);
  await mkdir(folder, { recursive: true });
  await requireNetwork(options, context, timeouts);
  const prepared = await prepare(options, context, timeouts);
  await rememberBootable({ qemu: prepared.qemu, kernel: prepared.linux.vmlinux });
  return await withLock(join(folder, 'lock'), { signal: context.signal }, async () => {
    const plan = await makePlan(options, prepared, context, timeouts);
    const running = await reuse(plan, context);
    if (running !== undefined) return await use(running);
    return await start(plan, context, use);
  });
}

interface Plan {
  readonly options: UpOptions;
  readonly prepared: Prepared;
  readonly initrd: Initrd | undefined;
  readonly accelerator: Accelerator;
  readonly machineDigest: string;
  readonly deployDigest: string;
  readonly timeouts: Timeouts;
}

async function makePlan(
  options: UpOptions,
  prepared: Prepared,
  context: StepContext,
  timeouts: Timeouts,
): Promise<Plan> {
  const initrd = await initrdFor(options, prepared, context, timeouts);
  const accelerator = await accelerate(options, prepared, context, timeouts);
  const machineDigest = digestJson({
    qemu: prepared.qemu.digest,
    linux: prepared.linux.digest,
    initrd: initrd?.digest ?? null,
    image: prepared.image.digest,
    profile: digestJson({ ...loadProfile(options.profile) }),
    devices: options.lab.devices,
    accelerator,
    memoryMiB: options.memoryMiB,
    net: { ...options.net },
  });
  const digest = deployDigest(options.lab, variantOf(options), prepared);
  return { options, prepared, initrd, accelerator, machineDigest, deployDigest: digest, timeouts };
}

/** Only a kernel with its drivers as modules needs one. */
async function initrdFor(
  { profile }: UpOptions,
  { linux }: Prepared,
  context: StepContext,
  timeouts: Timeouts,
): Promise<Initrd | undefined> {
  if (!linux.needsInitrd) return undefined;
  return await runStep(context, 'initrd', upSteps.initrd, async (step) => {
    const value = await buildInitrd({ kernel: linux, topology: loadProfile(profile) }, { step, timeouts });
    return { value, outcome: value.fresh ? 'done' : 'cached' };
  });
}

async function accelerate(
  options: UpOptions,
  { qemu, linux }: Prepared,
  context: StepContext,
  timeouts: Timeouts,
): Promise<Accelerator> {
  const asked = options.accelerator;
  return await runStep(context, 'accelerator', upSteps.accelerator, async () => {
    if (asked !== 'auto') return { value: asked, detail: `${asked}, as asked` };
    const choice = await chooseAccelerator({ qemu, kernel: linux.vmlinux, timeouts, signal: context.signal });
    return { value: choice.accelerator, detail: `${choice.accelerator}: ${choice.reason}` };
  });
}

/** The running machine, if it is the one that is asked for; a different one is shut down. */
async function reuse(plan: Plan, context: StepContext): Promise<Up | undefined> {
  const { options, timeouts } = plan;
  const record = liveRecord(options.name);
  if (record === undefined) {
    await closeDeadNetwork(options.name, timeouts);
    return undefined;
  }
  const machine = await attachMachine(record, { timeouts, signal: context.signal });
  const dead = await deadGuest(options.name);
  const made = record.stage === 'running' && record.machineDigest === plan.machineDigest;
  const same = made && !options.fresh && dead === undefined;
  if (!same) {
    const why = dead?.message ?? `the machine ${options.name} is not as asked for`;
    context.emit({ type: 'note', step: 'launch', text: `${why}; starting it anew` });
    await shutDown(machine, record, timeouts, context.signal);
    return undefined;
  }
  await machine.resume();
  const guest = await connectTo(record, timeouts, context.signal, machine.halted);
  if (record.deployDigest === plan.deployDigest) return { record, machine, guest, started: false };
  const updated = { ...record, deployDigest: plan.deployDigest };
  await runStep(context, 'deploy', upSteps.deploy, async () => ({
    value: await deploy(guest, options.lab, variantOf(options), plan.prepared, timeouts),
  }));
  await writeRecord(updated);
  return { record: updated, machine, guest, started: false };
}

async function start<T>(plan: Plan, context: StepContext, use: (up: Up) => Promise<T>): Promise<T> {
  const { options, prepared, timeouts } = plan;
  const { name } = options;
  const files: MachineFiles = { dir: machineFolder(name), sockets: await socketFolder(machineFolder(name)) };
  const spec = await makeSpec(plan, files, context);
  await using machine = await runStep(context, 'launch', upSteps.launch, async () => ({
    value: await launch(spec, files, { timeouts, signal: context.signal }),
  }));
  const starting = await recordOf(plan, machine, files);
  await writeRecord(starting);
  try {
    await openNetwork(machine, options.net, context, timeouts);
    const guest = await runStep(context, 'boot', upSteps.boot, async () => ({
      value: await whenReady(machine, await loginOf(starting), timeouts, context.signal),
      detail: `${starting.sshHost} port ${starting.sshPort}`,
    }));
    if (options.net.kind === 'tap') await giveResolvers(guest);
    await runStep(context, 'deploy', upSteps.deploy, async () => ({
      value: await deploy(guest, options.lab, variantOf(options), prepared, timeouts),
    }));
    await verifyTopology(machine, options.lab, options.profile);
    const record: MachineRecord = { ...starting, stage: 'running', deployDigest: plan.deployDigest };
    await writeRecord(record);
    return await use({ record, machine, guest, started: true });
  } catch (error) {
    await machine.stop();
    await forget(starting, context, timeouts);
    throw error;
  }
}

/** After a failure, whose error is the one to be seen: what cannot be undone now stays on record for the next command. */
async function forget(record: MachineRecord, context: StepContext, timeouts: Timeouts): Promise<void> {
  try {
    await closeNetwork(record, timeouts);
    await removeRecord(record.name);
  } catch (error) {
    const text = `${(error as Error).message}; the next \`lab down ${record.name}\` tries again`;
    context.emit({ type: 'note', step: 'network', text });
  }
}

async function makeSpec(plan: Plan, files: MachineFiles, context: StepContext): Promise<MachineSpec> {
  const { options, prepared, initrd, accelerator } = plan;
  const client = await clientKeys();
  const host = await loadOrMakeKeyPair(files.dir, 'host_key');
  const authorized = join(files.dir, 'authorized_keys');
  await writeFile(authorized, `${client.publicKey}\n`);
  const disk = await runStep(context, 'disk', upSteps.disk, (step) =>
    ensureDisk(files.dir, prepared, options.fresh, { step, timeouts: plan.timeouts }),
  );
  return {
    name: options.name,
    profile: loadProfile(options.profile),
    qemu: prepared.qemu,
    kernel: prepared.linux.vmlinux,
    ...(initrd === undefined ? {} : { initrd: initrd.path }),
    disk,
    accelerator,
    memoryMiB: options.memoryMiB,
    devices: options.lab.devices,
    owner: await deviceOwner(options),
    net: options.net,
    firmwareFiles: { authorized_keys: authorized, host_key: host.path },
  };
}

async function recordOf(plan: Plan, machine: Machine, files: MachineFiles): Promise<MachineRecord> {
  const { options, prepared, accelerator, machineDigest } = plan;
  return {
    format: 1,
    lab: options.lab.name,
    name: options.name,
    profile: options.profile,
    variant: options.variant,
    accelerator,
    stage: 'starting',
    pid: machine.pid,
    ...(await processIdentity(machine.pid)),
    ...(await addressOf(options.net, machine)),
    sockets: files.sockets,
    ...(machine.owner === undefined ? {} : { owner: { ...machine.owner, files: [...machine.owner.files] } }),
    machineDigest,
    deployDigest: '',
    made: madeOf(prepared),
  };
}

/** What a record says of the machine's network. */
async function addressOf(
  net: Network,
  machine: Machine,
): Promise<Pick<MachineRecord, 'sshHost' | 'sshPort' | 'tap'>> {
  if (net.kind === 'user') return { sshHost: '127.0.0.1', sshPort: await machine.sshPort() };
  const { device, ours } = net;
  return { sshHost: TAP_SSH.host, sshPort: TAP_SSH.port, tap: { device, ours } };
}

/** What a machine is made of, in words: shown by `lab status` and kept in every report. */
export function madeOf({ sources, qemu, linux, image }: Prepared): Record<string, string> {
  return {
    qemu: `${qemu.version}, ${sources.qemu.detail}`,
    linux: `${linux.release}, ${sources.linux.detail}`,
    guest: `${image.distro} ${image.version}`,
    'qemu source digest': sources.qemu.digest,
    'linux source digest': sources.linux.digest,
    'image digest': image.digest,
  };
}
