import { join } from 'node:path';
import { packageRoot } from '../../host/paths.js';
import { defineLab } from '../../lab/lab.js';
import { DeadBeef } from '../../nbd/examples/deadbeef.js';
import { RamDisk } from '../../nbd/examples/ramdisk.js';
import { vblkChecks } from './checks.js';

const folder = join(packageRoot, 'patches/vblk/guest');
const programs = ['vblk-attach', 'vblk-probe'];

export const lab = defineLab({
  name: 'vblk',
  title: 'Block devices whose reads and writes call your TypeScript',
  versions: { qemu: '8.2.0-rc2', linux: '6.6.4' },
  qemu: [],
  profile: 'fast',
  devices: [],
  variants: {
    module: {
      summary: "the kernel's own NBD driver, as a module",
      contributions: [],
      fragments: [],
      modules: true,
    },
  },
  modules: {},
  kernelModules: ['nbd'],
  programs: Object.fromEntries(programs.map((name) => [name, join(folder, `${name}.c`)])),
  files: programs.map((name) => ({ from: { program: name }, to: `/usr/local/bin/${name}`, mode: 0o755 })),
  undeploy: ['if [ -d /sys/module/nbd ]; then rmmod nbd; fi'],
  deploy: ['modprobe nbd nbds_max=4'],
  deployBuiltIn: [],
  checks: vblkChecks({ deadbeef: () => new DeadBeef(), ramdisk: () => new RamDisk() }),
});
