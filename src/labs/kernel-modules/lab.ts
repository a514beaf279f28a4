import { join } from 'node:path';
import { packageRoot } from '../../host/paths.js';
import { defineLab } from '../../lab/lab.js';
import type { ModuleSetup } from '../../lab/module-checks.js';
import { kernelModulesChecks } from './checks.js';

const folder = join(packageRoot, 'patches/kernel-modules');

/** Where `lab up` puts our own modules and programs. */
const deployed: ModuleSetup = {
  modules: { hello: '/opt/lab/hello.ko', ioctl_test: '/opt/lab/ioctl_test.ko' },
  programs: { 'ioctl-probe': '/usr/local/bin/ioctl-probe' },
};

const names = ['hello', 'ioctl_test'];
const programs = ['ioctl-probe'];

export const lab = defineLab({
  name: 'kernel-modules',
  title: 'Three loadable modules: hello world, an ioctl in /proc, key presses by interrupt',
  versions: { qemu: '8.2.0-rc2', linux: '6.6.4' },
  qemu: [],
  profile: 'fast',
  devices: [],
  variants: {
    module: { summary: 'loadable modules', contributions: [], fragments: [], modules: true },
  },
  modules: Object.fromEntries(names.map((name) => [name, join(folder, name)])),
  kernelModules: [],
  programs: Object.fromEntries(programs.map((name) => [name, join(folder, 'guest', `${name}.c`)])),
  files: [
    ...names.map((name) => ({ from: { module: name }, to: `/opt/lab/${name}.ko`, mode: 0o644 })),
    ...programs.map((name) => ({ from: { program: name }, to: `/usr/local/bin/${name}`, mode: 0o755 })),
  ],
  undeploy: names.map((name) => `if [ -d /sys/module/${name} ]; then rmmod ${name}; fi`),
  deploy: names.map((name) => `insmod /opt/lab/${name}.ko`),
  deployBuiltIn: [],
  checks: kernelModulesChecks(deployed),
});
