import type { Command } from '@commander-js/extra-typings';
import { LabError } from '../../src/errors.js';
import type { AnyBlockDevice, BlockDevice } from '../../src/nbd/device.js';
import type { VblkServer } from '../../src/nbd/vblk.js';

/** `lab vblk`: block devices made of TypeScript. */
export function addVblk(program: Command, signal: AbortSignal): void {
  const vblk = program
    .command('vblk')
    .summary('block devices whose reads and writes call your code')
    .description('Block devices whose reads and writes call your TypeScript, served over NBD.');
  vblk
    .command('serve')
    .summary('serve a device until Ctrl-C')
    .description(
      'Serves a block device over NBD until it is interrupted; then the device is unmounted. The device is the default\n' +
        'export of a TypeScript or JavaScript file, or one of the examples, deadbeef and ramdisk.',
    )
    .argument('<device>', 'a file, or deadbeef, or ramdisk')
    .option('--listen <address>', 'unix:PATH, HOST:PORT or a port; by default a free port of this host')
    .option('--faults <script>', 'faults, between semicolons, or a file with one per line: error EIO block 7')
    .option('--log', 'print each operation')
    .option(
      '--allow-remote',
      'listen also where other hosts get to: there is neither password nor encryption',
    )
    .option('--json', 'print events as JSON, one per line')
    .addHelpText('after', EXAMPLES)
    .exitOverride()
    .action((device, flags) => serveDevice(device, flags, signal));
}

const EXAMPLES = `
Examples:
  lab vblk serve ramdisk --listen unix:/tmp/disk.sock
  lab vblk serve my-device.ts --listen 10809 --log
  lab vblk serve ramdisk --faults "error EIO block 7; delay 20 write"

On Linux, as root:  modprobe nbd; nbd-client 127.0.0.1 PORT /dev/nbd0
With QEMU:          -drive driver=nbd,server.type=unix,server.path=/tmp/disk.sock
A device is written like this:  src/nbd/examples/deadbeef.ts`;

interface Flags {
  readonly listen?: string;
  readonly faults?: string;
  readonly log?: true;
  readonly allowRemote?: true;
  readonly json?: true;
}

async function serveDevice(name: string, flags: Flags, signal: AbortSignal): Promise<void> {
  const { serve } = await import('../../src/nbd/vblk.js');
  const say = flags.json === true ? sayJson : sayText;
  const device = await withLayers(await deviceOf(name), flags, say);
  const onEvent = (event: { readonly type: string }) => say(event);
  await using server = await serve(device, flags.listen, {
    onEvent,
    allowRemote: flags.allowRemote === true,
  });
  say({ type: 'listening', uri: server.uri(), ...sizeOf(device) });
  if (flags.json !== true) process.stdout.write(howTo(server));
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

async function deviceOf(name: string): Promise<AnyBlockDevice> {
  if (name === 'deadbeef') return new (await import('../../src/nbd/examples/deadbeef.js')).DeadBeef();
  if (name === 'ramdisk') return new (await import('../../src/nbd/examples/ramdisk.js')).RamDisk();
  const { existsSync } = await import('node:fs');
  if (existsSync(name)) return await (await import('../../src/nbd/load-device.js')).loadDevice(name);
  throw new LabError({
    code: 'usage/device',
    blame: 'user',
    fact: `there is no file ${name}`,
    next: 'name a TypeScript or JavaScript file, or one of the examples: deadbeef, ramdisk',
  });
}

type Say = (event: Readonly<Record<string, unknown>> & { readonly type: string }) => void;

async function withLayers(device: AnyBlockDevice, flags: Flags, say: Say): Promise<AnyBlockDevice> {
  const layered = flags.faults !== undefined || flags.log === true;
  if (!layered) return device;
  if (typeof device.blocks() === 'bigint')
    throw new LabError({
      code: 'usage/layers',
      blame: 'user',
      fact: '--faults and --log serve devices that count their blocks with a number, and this one uses a bigint',
      next: 'leave them out, or let blocks() return a number',
    });
  const { faulty, logged, parseFaultScript } = await import('../../src/nbd/vblk.js');
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

function sizeOf(device: AnyBlockDevice): { readonly bytes: number; readonly blockSize: number } {
  return { bytes: Number(device.blocks()) * device.blockSize(), blockSize: device.blockSize() };
}

function howTo({ address }: VblkServer): string {
  const attach =
    address.kind === 'unix'
      ? `nbd-client -unix ${address.path} /dev/nbd0`
      : `nbd-client ${address.host} ${address.port} /dev/nbd0`;
  return `\nattach it (as root): ${attach}      Ctrl-C ends it\n`;
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
