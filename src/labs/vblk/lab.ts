import { join } from 'node:path';
import { packageRoot } from '../../host/paths.js';
import { defineLab } from '../../lab/lab.js';
import { vblkChecks } from './checks.js';

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
  programs: { 'vblk-attach': join(packageRoot, 'patches/vblk/guest/vblk-attach.c') },
  files: [{ from: { program: 'vblk-attach' }, to: '/usr/local/bin/vblk-attach', mode: 0o755 }],
  undeploy: ['if [ -d /sys/module/nbd ]; then rmmod nbd; fi'],
  deploy: ['modprobe nbd'],
  deployBuiltIn: [],
  checks: vblkChecks,
});
