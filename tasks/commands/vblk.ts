import { type Command, Option } from '@commander-js/extra-typings';
import type { VblkServer } from '../../src/nbd/vblk.js';
import { type LayerFlags, openDevice, sayerOf, sizeOf, untilAborted } from '../vblk-device.js';

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
    .option('--read-only', READ_ONLY)
    .option('--sandbox', SANDBOX)
    .option(
      '--allow-remote',
      'listen also where other hosts get to: there is neither password nor encryption',
    )
    .option('--json', 'print events as JSON, one per line')
    .addHelpText('after', EXAMPLES)
    .exitOverride()
    .action((device, flags) => serveDevice(device, flags, signal));
  vblk
    .command('attach')
    .summary('put a device into the running guest, until Ctrl-C')
    .description(
      'Serves a block device and attaches it in the guest of a running machine; Ctrl-C detaches it in good order.\n' +
        'The device is what `serve` takes. `lab up vblk` starts a machine that has what is needed.',
    )
    .argument('<device>', 'a file, or deadbeef, or ramdisk')
    .option('-m, --machine <name>', 'name of the machine (default: the only one that runs)')
    .addOption(
      new Option('--as <what>', "a disk of the kernel's NBD driver, or of the machine (virtio, by QEMU)")
        .choices(['nbd0', 'nbd1', 'nbd2', 'nbd3', 'disk'])
        .default('nbd0'),
    )
    .option('--faults <script>', 'faults, between semicolons, or a file with one per line: error EIO block 7')
    .option('--log', 'print each operation')
    .option('--read-only', READ_ONLY)
    .option('--sandbox', SANDBOX)
    .option('--json', 'print events as JSON, one per line')
    .addHelpText('after', ATTACH_EXAMPLES)
    .exitOverride()
    .action(async (device, flags) => {
      const { attachDevice } = await import('./vblk-attach.js');
      await attachDevice(device, flags, signal);
    });
}

const READ_ONLY = 'tell clients when a device has no write handler; without this their writes fail (EIO)';

const SANDBOX =
  'run the file, which is one that you do not trust, in a sandbox; it can import nothing but lab/vblk';

const ATTACH_EXAMPLES = `
Examples:
  lab vblk attach deadbeef
  lab vblk attach my-device.ts --as disk --log
  lab vblk attach ramdisk --faults "error EIO block 7" --machine vblk`;

const EXAMPLES = `
Examples:
  lab vblk serve ramdisk --listen unix:/tmp/disk.sock
  lab vblk serve my-device.ts --listen 10809 --log
  lab vblk serve ramdisk --faults "error EIO block 7; delay 20 write"

On Linux, as root:  modprobe nbd; nbd-client 127.0.0.1 PORT /dev/nbd0
With QEMU:          -drive driver=nbd,server.type=unix,server.path=/tmp/disk.sock
A device is written like this:  src/nbd/examples/deadbeef.ts`;

interface Flags extends LayerFlags {
  readonly listen?: string;
  readonly allowRemote?: true;
  readonly readOnly?: true;
}

async function serveDevice(name: string, flags: Flags, signal: AbortSignal): Promise<void> {
  const { serve } = await import('../../src/nbd/vblk.js');
  const say = sayerOf(flags);
  await using open = await openDevice(name, flags, say);
  const { device } = open;
  const onEvent = (event: { readonly type: string }) => say(event);
  await using server = await serve(device, flags.listen, {
    onEvent,
    allowRemote: flags.allowRemote === true,
    tellReadOnly: flags.readOnly === true,
  });
  say({ type: 'listening', uri: server.uri(), ...sizeOf(device) });
  if (flags.json !== true) process.stdout.write(howTo(server));
  await untilAborted(signal);
}

function howTo({ address }: VblkServer): string {
  const attach =
    address.kind === 'unix'
      ? `nbd-client -unix ${address.path} /dev/nbd0`
      : `nbd-client ${address.host} ${address.port} /dev/nbd0`;
  return `\nattach it (as root): ${attach}      Ctrl-C ends it\n`;
}
