import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Contribution } from '../../build/contribution.js';
import { packageRoot } from '../../host/paths.js';
import { defineLab, type Skeleton } from '../../lab/lab.js';
import { bootChecks } from './checks/boot.js';
import { deviceChecks } from './checks/device.js';
import { driverChecks } from './checks/driver.js';
import { lifeChecks } from './checks/life.js';
import { transferChecks } from './checks/transfer.js';
import { furtherParts } from './further/parts.js';

const folder = join(packageRoot, 'patches/my-rng');
const text = (name: string) => readFileSync(join(folder, name), 'utf8');

const deviceFiles = [
  'my-rng.c',
  'my-rng-generators.c',
  'my-rng-generators.h',
  'my-rng-ring.c',
  'my-rng-ring.h',
];

const device: Contribution[] = [
  ...deviceFiles.map(
    (name): Contribution => ({ kind: 'file', to: `hw/misc/${name}`, from: join(folder, 'device', name) }),
  ),
  { kind: 'edit', path: 'hw/misc/Kconfig', where: 'end', text: text('device/Kconfig.frag') },
  { kind: 'edit', path: 'hw/misc/meson.build', where: 'end', text: text('device/meson.build.frag') },
  { kind: 'edit', path: 'hw/misc/trace-events', where: 'end', text: text('device/trace-events.frag') },
  { kind: 'file', to: 'docs/specs/my-rng.rst', from: join(folder, 'device/my-rng.rst') },
  { kind: 'edit', path: 'docs/specs/index.rst', where: { after: 'edu' }, text: '   my-rng\n' },
];

const builtInDriver: Contribution[] = [
  { kind: 'file', to: 'drivers/misc/my-rng.c', from: join(folder, 'module/my-rng.c') },
  {
    kind: 'edit',
    path: 'drivers/misc/Kconfig',
    where: { before: 'endmenu' },
    text: text('driver/Kconfig.frag'),
  },
  { kind: 'edit', path: 'drivers/misc/Makefile', where: 'end', text: text('driver/Makefile.frag') },
  {
    kind: 'edit',
    path: 'init/main.c',
    where: { before: 'static int __ref kernel_init(void *unused)' },
    text: `${text('driver/boot-test.c')}\n`,
  },
  {
    kind: 'edit',
    path: 'init/main.c',
    where: { after: 'do_sysctl_args();' },
    text: '\n\tmy_rng_boot_test();\n',
  },
];

/** The exercise's frame with nothing in it, and the build lines that it needs. */
const skeleton: Skeleton = {
  qemu: [
    { kind: 'file', to: 'hw/misc/my-rng.c', from: join(folder, 'skeleton/device.c') },
    { kind: 'edit', path: 'hw/misc/Kconfig', where: 'end', text: text('skeleton/Kconfig.frag') },
    { kind: 'edit', path: 'hw/misc/meson.build', where: 'end', text: text('skeleton/meson.build.frag') },
  ],
  linux: [
    { kind: 'file', to: 'drivers/misc/my-rng.c', from: join(folder, 'skeleton/driver.c') },
    ...builtInDriver.filter((item) => item.kind === 'edit' && item.path.startsWith('drivers/')),
    {
      kind: 'edit',
      path: 'init/main.c',
      where: { after: 'do_sysctl_args();' },
      text: text('skeleton/boot-test.c'),
    },
  ],
  files: {
    'module/Kbuild': join(folder, 'module/Kbuild'),
    'module/Makefile': join(folder, 'module/Makefile'),
    'my-app.c': join(folder, 'skeleton/my-app.c'),
  },
  shared: { 'module/my-rng.c': 'linux/drivers/misc/my-rng.c' },
  modules: { my_rng: 'module' },
  programs: { 'my-app': 'my-app.c' },
  leftOut: {
    qemu: ['prefix', 'scripts', 'tests', 'build', 'GNUmakefile'],
    linux: ['tools', 'security'],
  },
};

const makeNode = ['rm -f /dev/my_rng_driver', 'mknod /dev/my_rng_driver c 250 0'];

export const lab = defineLab({
  name: 'my-rng',
  title: 'A PCI random number generator: QEMU device, Linux driver, user application',
  versions: { qemu: '8.2.0-rc2', linux: '6.6.4' },
  qemu: device,
  profile: 'course',
  devices: ['my_rng'],
  variants: {
    module: {
      summary: 'the driver is the module my_rng.ko, built outside the kernel tree',
      contributions: [],
      fragments: [],
      modules: true,
    },
    'built-in': {
      summary: 'the driver is part of the kernel, which also tests the device while it boots',
      contributions: builtInDriver,
      fragments: [join(folder, 'driver/built-in.config')],
      modules: false,
    },
    further: {
      summary: 'extended devices beside the basic one, and the drivers my_rng_pci.ko and my_rng_fixed.ko',
      contributions: [],
      fragments: [],
      modules: true,
      parts: furtherParts,
    },
  },
  modules: { my_rng: join(folder, 'module') },
  ownKernel: "the exercise gives its driver the major number 250, which is taken in Debian's kernel (PPS)",
  kernelModules: [],
  programs: {
    'my-app': join(folder, 'guest/my-app.c'),
    'my-rng-probe': join(folder, 'guest/my-rng-probe.c'),
    'rng-bench': join(folder, 'guest/rng-bench.c'),
  },
  files: [
    { from: { module: 'my_rng' }, to: '/opt/lab/my_rng.ko', mode: 0o644 },
    { from: { program: 'my-app' }, to: '/usr/local/bin/my-app', mode: 0o755 },
    { from: { program: 'my-rng-probe' }, to: '/usr/local/bin/my-rng-probe', mode: 0o755 },
    { from: { program: 'rng-bench' }, to: '/usr/local/bin/rng-bench', mode: 0o755 },
    { from: { text: '/dev/my_rng_driver c 250 0 600\n' }, to: '/etc/lab/nodes.d/my-rng.conf', mode: 0o644 },
  ],
  undeploy: ['if [ -d /sys/module/my_rng ]; then rmmod my_rng; fi'],
  deploy: ['insmod /opt/lab/my_rng.ko', ...makeNode],
  deployBuiltIn: makeNode,
  topology: {
    vendor: 0x1234,
    device: 0xcafe,
    bar0: { course: 0xfebf1000, moved: 0xfebf2000 },
  },
  skeleton,
  checks: [...deviceChecks, ...bootChecks, ...driverChecks, ...transferChecks, ...lifeChecks],
});
