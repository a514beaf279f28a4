import { join } from 'node:path';
import { packageRoot } from '../../../host/paths.js';
import type { VariantParts } from '../../../lab/lab.js';
import { furtherChecks } from './checks.js';
import { FURTHER_DEVICES } from './devices.js';

const folder = join(packageRoot, 'patches/my-rng');
const modules = ['my_rng_pci', 'my_rng_fixed'];

/** What the variant `further` adds: extended devices, their driver, another one for the basic device, a probe. */
export const furtherParts: VariantParts = {
  devices: [...FURTHER_DEVICES.map(({ argument }) => argument), 'virtio-rng-pci,id=rng-virtio'],
  modules: Object.fromEntries(modules.map((name) => [name, join(folder, 'further')])),
  kernelModules: [],
  programs: { 'my-rng-further-probe': join(folder, 'guest/my-rng-further-probe.c') },
  files: [
    ...modules.map((name) => ({ from: { module: name }, to: `/opt/lab/${name}.ko`, mode: 0o644 })),
    {
      from: { program: 'my-rng-further-probe' },
      to: '/usr/local/bin/my-rng-further-probe',
      mode: 0o755,
    },
  ],
  undeploy: modules.map((name) => `if [ -d /sys/module/${name} ]; then rmmod ${name}; fi`),
  deploy: ['insmod /opt/lab/my_rng_pci.ko', 'rm -f /dev/my_rng_driver', 'mknod /dev/my_rng_driver c 250 0'],
  checks: furtherChecks,
};
