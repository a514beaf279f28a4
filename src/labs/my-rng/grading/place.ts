import { loadProfile } from '../../../machine/profiles.js';
import type { Profile } from '../../../machine/spec.js';

/** Where BAR 0 of the exercise's machine is. */
const EXERCISE = 0xfebf1000;
const PAGE = 0x1000;

/** The machine on which a driver's fixed address is that of the device. */
export interface Place {
  readonly profile: Profile;
  /** What was adapted or could not be, as a sentence; absent when nothing had to be. */
  readonly note?: string;
}

/**
 * Chooses the machine by the fixed base addresses in a driver's source. The exercise lets a driver hold the address
 * that its author's machine had, so the device is moved there, by PCI devices before it or by leaving out the VGA
 * card, where that is possible (measured on the machine `pc` with SeaBIOS).
 */
export function placeFor(sources: readonly string[]): Place {
  const course = loadProfile('course');
  const addresses = fixedAddresses(sources);
  const [other] = addresses;
  if (other === undefined || addresses.includes(EXERCISE)) return { profile: course };
  const hex = `0x${other.toString(16)}`;
  const profile = moved(course, other);
  if (profile === undefined) {
    return {
      profile: course,
      note: `the driver names the fixed address ${hex}, where no machine of the exercise has the device: it stays at 0x${EXERCISE.toString(16)}`,
    };
  }
  return {
    profile,
    note: `the machine was changed so that the device is at ${hex}, the fixed address in the driver`,
  };
}

/** Addresses in the memory hole of the machine's PCI devices, comments aside. */
function fixedAddresses(sources: readonly string[]): number[] {
  const code = sources.map((text) => text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')).join('\n');
  return [...code.matchAll(/\b0x(fe[0-9a-f]{6})(?:u|l)*\b/gi)].map(([, digits]) =>
    Number.parseInt(digits ?? '', 16),
  );
}

const MOST_BEFORE = 8;

function moved(course: Profile, address: number): Profile | undefined {
  for (const [vga, first] of [
    ['std', EXERCISE],
    ['none', 0xfebe0000],
  ] as const) {
    const before = (address - first) / PAGE;
    if (!Number.isInteger(before) || before < 0 || before > MOST_BEFORE) continue;
    return {
      ...course,
      vga,
      name: `course, device at 0x${address.toString(16)}`,
      before: Array<string>(before).fill('virtio-serial-pci'),
    };
  }
  return undefined;
}
