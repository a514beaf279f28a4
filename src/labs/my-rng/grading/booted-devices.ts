import type { DriverDevice } from './booted-setup.js';

/** The name that the exercise gives the character device. */
export const DEVICE_NAME = 'my_rng_driver';

/** Character devices of a guest at one moment. */
export interface CharacterDevices {
  /** `/proc/devices`. */
  readonly majors: readonly { readonly major: number; readonly name: string }[];
  /** `/proc/misc`: they share major 10. */
  readonly misc: readonly { readonly minor: number; readonly name: string }[];
  /** `/sys/dev/char`: those that the kernel's device model knows, with their node below /dev. */
  readonly nodes: readonly { readonly major: number; readonly minor: number; readonly node: string }[];
}

/** Prints what `parseDevices` reads. */
export const LIST_DEVICES = `cat /proc/devices; echo ---; cat /proc/misc; echo ---
for f in /sys/dev/char/*; do echo "\${f##*/} $(sed -n s/^DEVNAME=//p "$f/uevent")"; done`;

/** Pure; lines of another shape are left out. */
export function parseDevices(text: string): CharacterDevices {
  const [devices = '', misc = '', nodes = ''] = text.split(/^---$/m);
  const character = devices.split('Block devices:')[0] ?? '';
  return {
    majors: [...character.matchAll(/^\s*(\d+) (\S.*)$/gm)].map(([, major, name = '']) => ({
      major: Number(major),
      name,
    })),
    misc: [...misc.matchAll(/^\s*(\d+) (\S.*)$/gm)].map(([, minor, name = '']) => ({
      minor: Number(minor),
      name,
    })),
    nodes: [...nodes.matchAll(/^(\d+):(\d+) (\S*)$/gm)].map(([, major, minor, node = '']) => ({
      major: Number(major),
      minor: Number(minor),
      node,
    })),
  };
}

/** What a guest has without any driver of this lab, so that what is left over is the submission's. */
const USUAL = new Set([
  ...['mem', 'pty', 'ttyp', 'ttyS', '/dev/vc/0', 'tty', '/dev/tty', '/dev/console', '/dev/ptmx', 'ttyprintk'],
  ...['lp', 'vcs', 'misc', 'input', 'sound', 'alsa', 'fb', 'i2c', 'ptm', 'pts', 'usb', 'usb_device', 'drm'],
  ...[
    'cpu/msr',
    'cpu/cpuid',
    'hidraw',
    'bsg',
    'watchdog',
    'rtc',
    'ptp',
    'pps',
    'dax',
    'tpm',
    'gpiochip',
    'sg',
  ],
  ...[
    'virtio-portsdev',
    'hpet',
    'hw_random',
    'rfkill',
    'vga_arbiter',
    'snapshot',
    'nvram',
    'udmabuf',
    'fuse',
  ],
  ...['cpu_dma_latency', 'loop-control', 'device-mapper', 'mcelog', 'psaux', 'microcode', 'autofs', 'tun'],
  ...['vhost-net', 'vhost-vsock', 'vsock', 'kvm', 'uinput', 'uhid', 'userfaultfd', 'aux', 'acpi_thermal_rel'],
  ...[
    'media',
    'cec',
    'lirc',
    'ndctl',
    'ttyMAX',
    'ttyUSB',
    'ttyACM',
    'nvme',
    'nvme-generic',
    'ipmidev',
    'evdev',
  ],
]);

export interface Choice {
  readonly device: DriverDevice;
  /** What the student should know about it. */
  readonly notes: readonly string[];
}

/** Entries that only the submission can have made. `before` is absent for a driver that is built in. */
export function newEntries(after: CharacterDevices, before?: CharacterDevices): DriverDevice[] {
  const all = (list: CharacterDevices): DriverDevice[] => [
    ...list.majors.map(({ major, name }) => ({ name, major, minor: firstMinor(list, major) })),
    ...list.misc.map(({ minor, name }) => ({ name, major: 10, minor })),
  ];
  const known = new Set((before === undefined ? [] : all(before)).map(keyOf));
  return all(after).filter((entry) =>
    before === undefined ? !USUAL.has(entry.name) : !known.has(keyOf(entry)),
  );
}

function keyOf({ name, major }: DriverDevice): string {
  return `${major} ${name}`;
}

/** A driver may begin with another minor number than 0; the device model tells when it takes part in it. */
function firstMinor({ nodes }: CharacterDevices, major: number): number {
  const minors = nodes.filter((node) => node.major === major).map(({ minor }) => minor);
  return minors.length === 0 ? 0 : Math.min(...minors);
}

/**
 * The device of the submission: the name of the exercise, or a name that clearly belongs to it, or the only new one.
 *
 * @param after every character device of the guest
 * @param before those of the same guest without the driver; absent for a driver that is built in
 */
export function chooseDevice(after: CharacterDevices, before?: CharacterDevices): Choice | undefined {
  const entries = newEntries(after, before);
  const named = entries.find(({ name }) => name === DEVICE_NAME);
  const alike = entries.filter(({ name }) => /my[-_ ]?rng/i.test(name));
  const device = named ?? alike[0] ?? (entries.length === 1 ? entries[0] : undefined);
  if (device === undefined) return undefined;
  const node = after.nodes.find((entry) => entry.major === device.major && entry.minor === device.minor);
  const notes = [
    device.name === DEVICE_NAME
      ? []
      : [`the device is called ${device.name}, not ${DEVICE_NAME}; it was used`],
    device.major === 10 ? [`it is a misc device: major 10, minor ${device.minor}`] : [],
    device.major === 10 || device.major === 250 ? [] : [`its major number is ${device.major}, not 250`],
    node === undefined || node.node === '' ? [] : [`the kernel made /dev/${node.node} itself (devtmpfs)`],
  ];
  return { device, notes: notes.flat() };
}
