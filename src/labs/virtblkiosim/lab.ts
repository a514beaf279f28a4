import { join } from 'node:path';
import { packageRoot } from '../../host/paths.js';
import { defineLab } from '../../lab/lab.js';
import { loadChecks } from './checks/loads.js';

const folder = join(packageRoot, 'patches/virtblkiosim');

const setup = {
  modules: { virtblkiosim: '/opt/lab/virtblkiosim.ko' },
  programs: {},
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
  modules: { virtblkiosim: join(folder, 'module') },
  kernelModules: ['brd', 'null_blk'],
  programs: {},
  files: [{ from: { module: 'virtblkiosim' }, to: '/opt/lab/virtblkiosim.ko', mode: 0o644 }],
  undeploy: ['if [ -d /sys/module/virtblkiosim ]; then rmmod virtblkiosim; fi'],
  deploy: ['insmod /opt/lab/virtblkiosim.ko'],
  deployBuiltIn: [],
  checks: [...loadChecks(setup)],
});
