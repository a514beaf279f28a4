import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../host/paths.js';
import { defineLab } from '../../lab/lab.js';
import type { ModuleSetup } from '../../lab/module-checks.js';
import { virtblkiosimChecks } from './checks.js';
import { FIO_JOBS } from './fio.js';

const folder = join(packageRoot, 'patches/virtblkiosim');
const programs = ['virtblkiosim-tool', 'virtblkiosim-probe'];

/** Where `lab up` puts our own module, programs and job files. */
const deployed: ModuleSetup = {
  modules: { virtblkiosim: '/opt/lab/virtblkiosim.ko' },
  programs: {
    ...Object.fromEntries(programs.map((name) => [name, `/usr/local/bin/${name}`])),
    ...Object.fromEntries(FIO_JOBS.map((name) => [name, `/opt/lab/${name}`])),
    'virtblkiosim_stretch.ko': '/opt/lab/virtblkiosim_stretch.ko',
  },
};

export const lab = defineLab({
  name: 'virtblkiosim',
  title: 'A block device in memory as a loadable module, with ioctls and a user tool',
  versions: { qemu: '8.2.0-rc2', linux: '6.6.4' },
  qemu: [],
  profile: 'fast',
  devices: [],
  variants: {
    module: {
      summary: 'the driver is the module virtblkiosim.ko, built outside the kernel tree',
      contributions: [],
      fragments: [],
      modules: true,
    },
  },
  modules: { virtblkiosim: join(folder, 'module'), virtblkiosim_stretch: join(folder, 'stretch') },
  kernelModules: ['brd', 'null_blk'],
  programs: Object.fromEntries(programs.map((name) => [name, join(folder, `guest/${name}.c`)])),
  files: [
    { from: { module: 'virtblkiosim' }, to: '/opt/lab/virtblkiosim.ko', mode: 0o644 },
    { from: { module: 'virtblkiosim_stretch' }, to: '/opt/lab/virtblkiosim_stretch.ko', mode: 0o644 },
    ...programs.map((name) => ({ from: { program: name }, to: `/usr/local/bin/${name}`, mode: 0o755 })),
    ...FIO_JOBS.map((name) => ({ from: { text: job(name) }, to: `/opt/lab/${name}`, mode: 0o644 })),
  ],
  undeploy: [
    'if [ -d /sys/module/virtblkiosim_stretch ]; then rmmod virtblkiosim_stretch; fi',
    'if [ -d /sys/module/virtblkiosim ]; then rmmod virtblkiosim; fi',
  ],
  deploy: ['insmod /opt/lab/virtblkiosim.ko'],
  deployBuiltIn: [],
  checks: virtblkiosimChecks(deployed),
});

function job(name: string): string {
  return readFileSync(join(folder, 'guest', name), 'utf8');
}
