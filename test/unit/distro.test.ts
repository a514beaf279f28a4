import { describe, expect, test } from 'vitest';
import { type CpioEntry, cpio } from '../../src/build/cpio.js';
import { kernelVariables } from '../../src/build/distro-linux.js';
import { BOOT_MODULES, bootModules } from '../../src/build/initrd.js';
import { parseQemuVersion } from '../../src/build/system-qemu.js';
import { NEEDS, TOOLS } from '../../src/build/tools.js';
import { payloadOf } from '../../src/build/vmlinuz.js';
import { LabError } from '../../src/errors.js';
import { upStepsFor } from '../../src/lab/bring-up.js';
import type { Lab } from '../../src/lab/lab.js';
import { upNeeds } from '../../src/lab/needs.js';
import { usesSystemQemu } from '../../src/lab/prepare.js';
import { loadProfile, profileNames } from '../../src/machine/profiles.js';
import { parseDepends } from '../../src/sources/debian.js';
import { kernelPackages, kernelRelease } from '../../src/sources/debian-kernel.js';
import { type UpFlags, upOptions } from '../../tasks/options.js';

describe('the packages of Debian’s newest kernel', () => {
  const bookworm = `linux-headers-6.1.0-56-amd64
  Depends: linux-headers-6.1.0-56-common
  Depends: linux-kbuild-6.1
  Depends: linux-compiler-gcc-12-x86
`;
  const trixie = `linux-headers-6.12.107+deb13-amd64
  Depends: linux-base
  Depends: linux-headers-6.12.107+deb13-common
 |Depends: linux-image-6.12.107+deb13-amd64
  Depends: linux-image-6.12.107+deb13-amd64-unsigned
  Depends: linux-kbuild-6.12.107+deb13
  Depends: gcc-14
`;

  test('the meta package names the release', () => {
    const depends = parseDepends('linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n');
    expect(kernelRelease(depends)).toBe('6.1.0-56-amd64');
    expect(kernelRelease(parseDepends('linux-image-amd64\n'))).toBeUndefined();
  });

  test.each([
    ['6.1.0-56-amd64', bookworm, 'linux-headers-6.1.0-56-common', 'linux-kbuild-6.1'],
    ['6.12.107+deb13-amd64', trixie, 'linux-headers-6.12.107+deb13-common', 'linux-kbuild-6.12.107+deb13'],
  ])('%s', (release, depends, common, kbuild) => {
    expect(kernelPackages(release, parseDepends(depends))).toEqual({
      release,
      image: `linux-image-${release}`,
      headers: `linux-headers-${release}`,
      common,
      kbuild,
    });
  });

  test('headers without their parts are refused', () => {
    expect(kernelPackages('6.1', parseDepends('x\n  Depends: linux-base\n'))).toBeUndefined();
  });
});

describe('a bzImage', () => {
  test('gives its payload, without the size behind it', () => {
    const image = Buffer.alloc(4096);
    image.write('HdrS', 0x202);
    image[0x1f1] = 2;
    image.writeUInt32LE(16, 0x248);
    image.writeUInt32LE(11, 0x24c);
    image.write('payloadSIZE', 3 * 512 + 16);
    expect(payloadOf(image).toString()).toBe('payload');
  });

  test('anything else has none', () => {
    expect(payloadOf(Buffer.alloc(4096)).length).toBe(0);
    expect(payloadOf(Buffer.from('\x7fELF')).length).toBe(0);
  });
});

describe('makefile settings of Debian’s headers', () => {
  const debian = [
    'override ARCH = x86',
    'override KERNELRELEASE = 6.12.107+deb13-amd64',
    'CCACHE = ccache',
    'CC = $(if $(DEBIAN_KERNEL_USE_CCACHE),$(CCACHE)) $(CROSS_COMPILE)gcc-14',
    'DEB_BUILD_ARCH ?= $(shell dpkg --print-architecture)',
    'override CROSS_COMPILE = x86_64-linux-gnu-',
    'DEBIAN_KERNEL_NO_CC_VERSION_CHECK = y',
    '',
  ].join('\n');

  test('keep what identifies the kernel, and use the host’s compiler where theirs is missing', () => {
    expect(kernelVariables(debian).split('\n')).toEqual([
      'override ARCH = x86',
      'override KERNELRELEASE = 6.12.107+deb13-amd64',
      'DEBIAN_KERNEL_NO_CC_VERSION_CHECK = y',
      'CC := $(shell command -v gcc-14 || echo gcc)',
      '',
    ]);
  });
});

describe('a cpio archive', () => {
  const entries: CpioEntry[] = [
    { path: 'dev', mode: 0o755, content: 'folder' },
    { path: 'dev/console', mode: 0o600, content: { device: [5, 1] } },
    { path: 'init', mode: 0o755, content: { data: Buffer.from('hello') } },
  ];

  test('holds each entry, in order, and its trailer', () => {
    expect(readCpio(cpio(entries))).toEqual([
      { path: 'dev', mode: 0o40755, device: [0, 0], data: '' },
      { path: 'dev/console', mode: 0o20600, device: [5, 1], data: '' },
      { path: 'init', mode: 0o100755, device: [0, 0], data: 'hello' },
      { path: 'TRAILER!!!', mode: 0, device: [0, 0], data: '' },
    ]);
  });
});

/** As the kernel's init/initramfs.c reads it. */
function readCpio(archive: Buffer) {
  const found = [];
  for (let at = 0; at < archive.length; ) {
    expect(archive.toString('latin1', at, at + 6)).toBe('070701');
    const field = (i: number) =>
      Number.parseInt(archive.toString('latin1', at + 6 + 8 * i, at + 14 + 8 * i), 16);
    const name = at + 110;
    const data = align(name + field(11));
    found.push({
      path: archive.toString('latin1', name, name + field(11) - 1),
      mode: field(1),
      device: [field(9), field(10)],
      data: archive.toString('latin1', data, data + field(6)),
    });
    at = align(data + field(6));
  }
  return found;
}

const align = (offset: number) => Math.ceil(offset / 4) * 4;

describe('modules of a boot', () => {
  test('are those of the disk and the NIC of the machine, and each profile’s are unpacked', () => {
    expect(bootModules(loadProfile('fast'))).toEqual(
      expect.arrayContaining(['virtio_blk', 'virtio_net', 'ext4']),
    );
    expect(bootModules(loadProfile('course'))).toEqual(
      expect.arrayContaining(['ata_piix', 'sd_mod', 'e1000']),
    );
    expect(bootModules(loadProfile('fast'))).not.toContain('ata_piix');
    for (const name of profileNames()) {
      expect(BOOT_MODULES).toEqual(expect.arrayContaining(bootModules(loadProfile(name))));
    }
  });
});

const lab: Lab = {
  ...{ name: 'x', title: 'x', versions: { qemu: '8.2.0', linux: '6.6.4' }, qemu: [], profile: 'fast' },
  ...{ devices: [], modules: {}, kernelModules: [], programs: {}, files: [], checks: [] },
  ...{ deploy: [], undeploy: [], deployBuiltIn: [] },
  variants: {
    module: { summary: 'a module', contributions: [], fragments: [], modules: true },
    'built-in': { summary: 'built in', contributions: [], fragments: ['/x/y.config'], modules: false },
  },
};

const flags: UpFlags = {
  ...{
    kernel: 'distro',
    kernelConfig: 'lab',
    guest: 'auto',
    accel: 'tcg',
    net: 'user',
    port: 0,
    memory: 512,
  },
  ...{ alpineMirror: [], sourceMirror: [], qemuPatch: [], linuxPatch: [] },
};

describe('--kernel distro', () => {
  test('takes neither tools nor steps of a build', () => {
    const options = upOptions(lab, flags);
    expect(options.kernel).toBe('distro');
    const needs = upNeeds(options);
    const programs = TOOLS.filter(({ needed }) => needed.some((need) => needs.includes(need)));
    const names = programs.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['C compiler', 'make', 'kmod', 'QEMU for x86', 'qemu-img']));
    for (const name of ['Ninja', 'flex', 'bison', 'bc', 'GLib', 'rsync', 'dpkg-source', 'bubblewrap'])
      expect(names).not.toContain(name);
    const steps = Object.keys(upStepsFor(options));
    expect(steps).toEqual(expect.arrayContaining(['systemQemu', 'linuxPackages', 'distroLinux', 'initrd']));
    for (const step of ['qemuSource', 'qemu', 'linuxSource', 'linux']) expect(steps).not.toContain(step);
  });

  test.each<[string, Partial<UpFlags>]>([
    ['--linux', { linux: '/src/linux' }],
    ['--linux-version', { linuxVersion: '6.6.9' }],
    ['--linux-patch', { linuxPatch: ['a.patch'] }],
    ['--kernel-config', { kernelConfig: 'defconfig' }],
    ['--variant built-in', { variant: 'built-in' }],
    ['--profile kasan', { profile: 'kasan' }],
  ])('refuses %s', (option, more) => {
    expect(refusal(() => upOptions(lab, { ...flags, ...more }))).toMatchObject({
      code: 'usage/kernel',
      blame: 'user',
      evidence: [expect.stringContaining(`${option} `)],
    });
    expect(() => upOptions(lab, { ...flags, ...more, kernel: 'built' })).not.toThrow();
  });
});

function refusal(body: () => unknown): LabError {
  try {
    body();
  } catch (error) {
    if (error instanceof LabError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

describe('the QEMU of the system', () => {
  test('serves a lab that adds nothing to QEMU, unless another one is asked for', () => {
    const uses = (one: Lab, more: Partial<UpFlags> = {}) =>
      usesSystemQemu(upOptions(one, { ...flags, kernel: 'built', ...more }));
    expect(uses(lab)).toBe(true);
    expect(uses({ ...lab, devices: ['my_rng'] })).toBe(false);
    expect(uses({ ...lab, qemu: [{ kind: 'patch', from: '/a' }] })).toBe(false);
    expect(uses(lab, { qemu: '/src/qemu' })).toBe(false);
    expect(uses(lab, { qemuVersion: '8.2.2' })).toBe(false);
    expect(uses(lab, { qemuPatch: ['a.patch'] })).toBe(false);
  });

  test('a lab with a device has its own built, and needs the tools for it', () => {
    const options = upOptions({ ...lab, devices: ['my_rng'] }, flags);
    expect(upNeeds(options)).toEqual(expect.arrayContaining(['qemu', 'sources', 'distro-linux']));
    expect(Object.keys(upStepsFor(options))).toEqual(
      expect.arrayContaining(['qemuSource', 'qemu', 'distroLinux']),
    );
  });

  test('says its version', () => {
    const text = 'QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright (c) 2003-2022\n';
    expect(parseQemuVersion(text)).toBe('7.2.22');
    expect(parseQemuVersion('QEMU emulator version 10.0.0rc1\n')).toBe('10.0.0');
    expect(parseQemuVersion('nothing')).toBeUndefined();
  });
});

test('every need has a tool', () => {
  for (const need of NEEDS)
    expect(
      TOOLS.some(({ needed }) => needed.includes(need)),
      need,
    ).toBe(true);
});
