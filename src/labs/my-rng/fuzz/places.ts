/** Bytes of memory of the machine. */
export const RAM = 0x4000000n;

/** Registers of the device: the two basic ones, and those of an extended one; see patches/my-rng/device. */
export const REGISTERS = [
  ...([0x00, 0x04, 0x08, 0x0c, 0x10, 0x14, 0x18, 0x1c] as const),
  ...([0x20, 0x24, 0x28, 0x2c, 0x30, 0x34] as const),
] as const;

/** Addresses of the `pc` machine at which something else than memory answers, or nothing. */
export const PLACES = {
  vga: 0xa0000n,
  bios: 0xf0000n,
  nothing: 0xd0000000n,
  ioapic: 0xfec00000n,
  apic: 0xfee00000n,
  rom: 0xfffff000n,
} as const;
