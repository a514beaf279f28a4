import { join } from 'node:path';
import { packageRoot } from '../../host/paths.js';
import { defineLab } from '../../lab/lab.js';
import type { ModuleSetup } from '../../lab/module-checks.js';
import { kernelModulesChecks } from './checks.js';

const folder = join(packageRoot, 'patches/kernel-modules');

/** Folders of the modules, by the name of the `.ko`: the exercise's `keyboard` cannot be that of a file, see its Kbuild. */
const folders = { hello: 'hello', ioctl_test: 'ioctl_test', lab_keyboard: 'keyboard' };
const modules = Object.keys(folders);
const programs = ['ioctl-probe', 'keyboard-reader', 'keyboard-probe'];

/** Where `lab up` puts our own modules and programs. */
const deployed: ModuleSetup = {
  modules: Object.fromEntries(Object.entries(folders).map(([ko, name]) => [name, `/opt/lab/${ko}.ko`])),
  programs: Object.fromEntries(programs.map((name) => [name, `/usr/local/bin/${name}`])),
};

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
  modules: Object.fromEntries(Object.entries(folders).map(([ko, name]) => [ko, join(folder, name)])),
  kernelModules: [],
  programs: Object.fromEntries(programs.map((name) => [name, join(folder, 'guest', `${name}.c`)])),
  files: [
    ...modules.map((name) => ({ from: { module: name }, to: `/opt/lab/${name}.ko`, mode: 0o644 })),
    ...programs.map((name) => ({ from: { program: name }, to: `/usr/local/bin/${name}`, mode: 0o755 })),
  ],
  undeploy: modules.map((name) => `if [ -d /sys/module/${name} ]; then rmmod ${name}; fi`),
  deploy: modules.map((name) => `insmod /opt/lab/${name}.ko`),
  deployBuiltIn: [],
  checks: kernelModulesChecks(deployed),
});
