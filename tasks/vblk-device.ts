import { LabError } from '../src/errors.js';
import type { AnyBlockDevice, BlockDevice } from '../src/nbd/device.js';

/** Flags about what stands before a device, and how its events are printed. */
export interface LayerFlags {
  readonly faults?: string;
  readonly log?: true;
  readonly json?: true;
  readonly sandbox?: true;
}

/** Milliseconds that code in the sandbox has for one operation. */
const PATIENCE = 10_000;

/** A device to be served; disposing of it ends what runs for it. */
export interface OpenDevice extends AsyncDisposable {
  readonly device: AnyBlockDevice;
}

/**
 * The device that a name stands for, with the faults and the log that are asked for.
 *
 * @throws LabError `usage/device`, `usage/layers`, `nbd/no-device`, `nbd/fault-script`, `sandbox/unavailable`.
 */
export async function openDevice(name: string, flags: LayerFlags, say: Say): Promise<OpenDevice> {
  const inner = await (flags.sandbox === true ? jailedDevice(name) : trustedDevice(name));
  try {
    return { ...inner, device: await withLayers(inner.device, flags, say) };
  } catch (error) {
    await inner[Symbol.asyncDispose]();
    throw error;
  }
}

async function trustedDevice(name: string): Promise<OpenDevice> {
  return { device: await deviceOf(name), [Symbol.asyncDispose]: async () => {} };
}

async function jailedDevice(name: string): Promise<OpenDevice> {
  const { existsSync } = await import('node:fs');
  if (!existsSync(name)) throw noFile(name);
  const { hostTimeouts } = await import('./host.js');
  const { requireSandbox } = await import('../src/sandbox/probe.js');
  const { openSubmittedDevice } = await import('../src/sandbox/device.js');
  const timeouts = hostTimeouts();
  await requireSandbox({ signal: new AbortController().signal, timeouts });
  return await openSubmittedDevice(name, { patience: PATIENCE, timeouts });
}

async function deviceOf(name: string): Promise<AnyBlockDevice> {
  if (name === 'deadbeef') return new (await import('../src/nbd/examples/deadbeef.js')).DeadBeef();
  if (name === 'ramdisk') return new (await import('../src/nbd/examples/ramdisk.js')).RamDisk();
  const { existsSync } = await import('node:fs');
  if (existsSync(name)) return await (await import('../src/nbd/load-device.js')).loadDevice(name);
  throw noFile(name);
}

function noFile(name: string): LabError {
  return new LabError({
    code: 'usage/device',
    blame: 'user',
    fact: `there is no file ${name}`,
    next: 'name a TypeScript or JavaScript file, or one of the examples: deadbeef, ramdisk',
  });
}

/** Prints an event. */
export type Say = (event: Readonly<Record<string, unknown>> & { readonly type: string }) => void;

async function withLayers(device: AnyBlockDevice, flags: LayerFlags, say: Say): Promise<AnyBlockDevice> {
  const layered = flags.faults !== undefined || flags.log === true;
  if (!layered) return device;
  if (typeof device.blocks() === 'bigint')
    throw new LabError({
      code: 'usage/layers',
      blame: 'user',
      fact: '--faults and --log serve devices that count their blocks with a number, and this one uses a bigint',
      next: 'leave them out, or let blocks() return a number',
    });
  const { faulty, logged, parseFaultScript } = await import('../src/nbd/vblk.js');
  let result = device as BlockDevice;
  if (flags.faults !== undefined) {
    const script = parseFaultScript(await scriptOf(flags.faults));
    result = faulty(result, script, (fault, { kind, offset, length }, request) =>
      say({ type: 'fault', ...fault, request, operation: kind, offset, length }),
    );
  }
  if (flags.log === true) {
    result = logged(result, ({ error, duration, ...operation }) =>
      say({
        ...{ type: 'operation', ...operation, duration: Number(duration.toFixed(3)) },
        ...(error === undefined ? {} : { error: error instanceof Error ? error.message : String(error) }),
      }),
    );
  }
  return result;
}

async function scriptOf(text: string): Promise<string> {
  const { existsSync } = await import('node:fs');
  const { readFile } = await import('node:fs/promises');
  return existsSync(text) ? await readFile(text, 'utf8') : text;
}

/** For whoever wants to know what is served. */
export function sizeOf(device: AnyBlockDevice): { readonly bytes: number; readonly blockSize: number } {
  return { bytes: Number(device.blocks()) * device.blockSize(), blockSize: device.blockSize() };
}

/** How events are printed: as JSON, or in words. */
export function sayerOf({ json }: LayerFlags): Say {
  return json === true ? sayJson : sayText;
}

/** Ends when the signal does. */
export async function untilAborted(signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

const sayJson: Say = (event) =>
  void process.stdout.write(
    `${JSON.stringify(event, (_key, value: unknown) => (value instanceof Error ? value.message : value))}\n`,
  );

const sayText: Say = ({ type, ...rest }) => {
  const words = Object.entries(rest).map(([key, value]) => `${key} ${inWords(value)}`);
  process.stdout.write(`${new Date().toTimeString().slice(0, 8)} ${[type, ...words].join(', ')}\n`);
};

function inWords(value: unknown): string {
  if (value instanceof Error) return value.message;
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
